//! Our own settings, beside what MetalLB's YAML can say: the same words as keys of the ConfigMap and as fields of native YAML.
//!
//! ```yaml
//! onCordon: drained        # or move, or stay
//! rebalance: false
//! promiscuous: never       # or wireless, or always
//! restartHold: 5
//! liveness:
//!   wired: {interval: 100ms, multiplier: 4}
//!   wireless: {interval: 500ms, multiplier: 8}
//!   port: 7474
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::{self, Fields};
use super::oneline;
use super::problem::{Place, nearest};
use super::raw::{At, Reading};
use super::tree::{Kind, Node, Scalar, Value, quoted};

/// Which Services are served, by `spec.loadBalancerClass`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Classes {
    /// Services without a class and Services of class `lanlord.dev/lb`. The default.
    #[default]
    Both,
    /// Only Services without a class.
    Classless,
    /// Only Services of class `lanlord.dev/lb`.
    Own,
}

/// `onCordon`: when addresses leave a node that is cordoned (`spec.unschedulable`), given that another node can take them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnCordon {
    /// Once no Service that holds them has a serving endpoint on the node any more, which is what a drain looks like: a cordon alone
    /// breaks no connection. The default.
    #[default]
    Drained,
    /// At once.
    Move,
    /// Never.
    Stay,
}

/// The pace of liveness sessions between two members (RFC 5880 §6.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Between two packets; 10 ms to 60 s.
    pub interval: Duration,
    /// bfd.DetectMult: so many intervals without a packet end a session; 2 to 255.
    pub multiplier: u8,
}

/// `liveness`: how the members watch each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Liveness {
    /// Where both ends are wired. Default 100 ms × 4.
    pub wired: Pace,
    /// Where either end is wireless. Default 500 ms × 8: a radio loses packets in rows.
    pub wireless: Pace,
    /// UDP port. Default 7474.
    pub port: u16,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            wired: Pace { interval: Duration::from_millis(100), multiplier: 4 },
            wireless: Pace { interval: Duration::from_millis(500), multiplier: 8 },
            port: 7474,
        }
    }
}

/// `promiscuous`: on which links the network card is asked to pass on all packets. Some Wi-Fi drivers lose broadcast ARP otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Promiscuous {
    /// On none. The default: it costs CPU time, and a good driver does not need it.
    #[default]
    Never,
    /// On wireless ones that announce.
    Wireless,
    /// On all that announce.
    Always,
}

/// Our own settings, beside what MetalLB's YAML can say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `serviceClasses`: which Services are served, by their `spec.loadBalancerClass`. Default `both`.
    pub classes: Classes,
    /// `excludeInterfaces`: links that never announce unless an advertisement names them, beside those of containers and virtual machines
    /// (`docker*`, `veth*`, `cni*` and their like, which are always left out). Exact names, or a prefix with `*` at the end.
    pub exclude_interfaces: Vec<String>,
    /// `announceInterval`: seconds between two announcements of an address at rest (jittered by a quarter); 0: never. Default 60.
    pub announce_interval: Option<Duration>,
    /// `onCordon`: when addresses leave a node that is cordoned. Default `drained`.
    pub on_cordon: OnCordon,
    /// `rebalance`: whether addresses move to even out the load, slowly and in quiet. Default false: a move ends TCP connections.
    pub rebalance: bool,
    /// `promiscuous`: on which links the network card is asked to pass on all packets. Default `never`.
    pub promiscuous: Promiscuous,
    /// `restartHold`: seconds an agent whose node still answers is given to come back before its addresses move. Default 5; 0: none.
    pub restart_hold: Duration,
    /// `liveness`: how the agents watch each other. A mapping, so it stands in `config.yaml`.
    pub liveness: Liveness,
}

/// Links of container networks and virtual machines: they never carry the LAN (MetalLB's list, which its users know).
pub const EXCLUDED_INTERFACES: &[&str] = &[
    "docker*",
    "cbr*",
    "dummy*",
    "virbr*",
    "lxcbr*",
    "veth*",
    "lo",
    "cali*",
    "tunl*",
    "flannel*",
    "kube-ipvs*",
    "cni*",
    "nodelocaldns*",
    "lxc*",
];

/// Default of `announceInterval`: caches of switches and hosts last minutes, so one reminder a minute is always in time.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);

/// Default of `restartHold`: a container is back within a second or two, unless its image has to be fetched.
pub const RESTART_HOLD: Duration = Duration::from_secs(5);

impl Default for Settings {
    fn default() -> Self {
        Self {
            classes: Classes::default(),
            exclude_interfaces: EXCLUDED_INTERFACES.iter().map(ToString::to_string).collect(),
            announce_interval: Some(ANNOUNCE_INTERVAL),
            on_cordon: OnCordon::default(),
            rebalance: false,
            promiscuous: Promiscuous::default(),
            restart_hold: RESTART_HOLD,
            liveness: Liveness::default(),
        }
    }
}

/// The settings as written.
#[derive(Debug, Default)]
pub(crate) struct RawSettings {
    classes: Option<At<Classes>>,
    exclude_interfaces: Vec<String>,
    /// Seconds.
    announce_interval: Option<At<u64>>,
    on_cordon: Option<At<OnCordon>>,
    rebalance: Option<At<bool>>,
    promiscuous: Option<At<Promiscuous>>,
    /// Seconds.
    restart_hold: Option<At<u64>>,
    liveness: Option<At<Liveness>>,
}

impl RawSettings {
    /// With the defaults filled in. What the person excludes comes on top of the built-in list.
    pub(crate) fn resolve(&self) -> Settings {
        let mut settings = Settings::default();
        settings.exclude_interfaces.extend(self.exclude_interfaces.iter().cloned());
        let mut seen = BTreeSet::new();
        settings.exclude_interfaces.retain(|name| seen.insert(name.clone()));
        let announce_interval = self.announce_interval.as_ref().map(|at| (at.value > 0).then(|| Duration::from_secs(at.value)));
        Settings {
            classes: self.classes.as_ref().map_or(settings.classes, |at| at.value),
            announce_interval: announce_interval.unwrap_or(settings.announce_interval),
            on_cordon: self.on_cordon.as_ref().map_or(settings.on_cordon, |at| at.value),
            rebalance: self.rebalance.as_ref().map_or(settings.rebalance, |at| at.value),
            promiscuous: self.promiscuous.as_ref().map_or(settings.promiscuous, |at| at.value),
            restart_hold: self.restart_hold.as_ref().map_or(settings.restart_hold, |at| Duration::from_secs(at.value)),
            liveness: self.liveness.as_ref().map_or(settings.liveness, |at| at.value.clone()),
            exclude_interfaces: settings.exclude_interfaces,
        }
    }
}

/// All settings of a mapping.
pub(crate) fn read(fields: &mut Fields<'_>, reading: &mut Reading) {
    let classes = fields.text("serviceClasses", reading).and_then(|text| service_classes(text, reading));
    set(classes, "serviceClasses", |settings| &mut settings.classes, reading);
    if let Some(node) = fields.take("excludeInterfaces") {
        exclude_interfaces(node, reading);
    }
    let interval = fields.text("announceInterval", reading).and_then(|text| {
        const DAY: u64 = 86_400;
        seconds(text, "announceInterval", DAY, "write seconds, such as 60, or 0 for never (86400, a day, at most)", reading)
    });
    set(interval, "announceInterval", |settings| &mut settings.announce_interval, reading);
    let on_cordon = fields.text("onCordon", reading).and_then(|text| on_cordon(text, reading));
    set(on_cordon, "onCordon", |settings| &mut settings.on_cordon, reading);
    let rebalance = fields.text("rebalance", reading).and_then(|text| rebalance(text, reading));
    set(rebalance, "rebalance", |settings| &mut settings.rebalance, reading);
    let promiscuous = fields.text("promiscuous", reading).and_then(|text| promiscuous(text, reading));
    set(promiscuous, "promiscuous", |settings| &mut settings.promiscuous, reading);
    let hold = fields.text("restartHold", reading).and_then(|text| {
        const HOUR: u64 = 3600;
        seconds(text, "restartHold", HOUR, "write seconds, such as 5, or 0 for none (3600, an hour, at most)", reading)
    });
    set(hold, "restartHold", |settings| &mut settings.restart_hold, reading);
    let liveness = fields.take("liveness").and_then(|node| liveness(node, reading));
    set(liveness, "liveness", |settings| &mut settings.liveness, reading);
}

fn set<T>(value: Option<At<T>>, name: &str, slot: impl FnOnce(&mut RawSettings) -> &mut Option<At<T>>, reading: &mut Reading) {
    let Some(value) = value else { return };
    let place = value.place.clone();
    if let Some(first) = slot(&mut reading.raw.settings).replace(value) {
        reading.problem(&place, format!("`{name}` is set twice, first in {}", place.mention(&first.place)), "keep one of the two");
    }
}

/// One of a few words.
fn word<T: Copy>(text: At<String>, name: &str, words: &[(&str, T)], help: &str, reading: &mut Reading) -> Option<At<T>> {
    let written = text.value.trim();
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == written) {
        return Some(At { value: *value, place: text.place });
    }
    let near = nearest(written, words.iter().map(|(word, _)| *word)).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    reading.problem(&text.place, format!("{} is not a value of `{name}`", quoted(written)), format!("{help}{near}"));
    None
}

fn service_classes(text: At<String>, reading: &mut Reading) -> Option<At<Classes>> {
    let words = [("both", Classes::Both), ("classless", Classes::Classless), ("own", Classes::Own)];
    let help = "write `both`, `classless` (only Services without a class) or `own` (only class lanlord.dev/lb)";
    word(text, "serviceClasses", &words, help, reading)
}

fn on_cordon(text: At<String>, reading: &mut Reading) -> Option<At<OnCordon>> {
    let words = [("drained", OnCordon::Drained), ("move", OnCordon::Move), ("stay", OnCordon::Stay)];
    let help = "write `drained` (addresses leave a cordoned node with the last endpoint), `move` (at once) or `stay`";
    word(text, "onCordon", &words, help, reading)
}

/// A text in a ConfigMap (`"true"`: kubectl refuses a bare boolean there), a boolean in YAML.
fn rebalance(text: At<String>, reading: &mut Reading) -> Option<At<bool>> {
    word(text, "rebalance", &[("true", true), ("false", false)], "write `true` or `false`", reading)
}

fn promiscuous(text: At<String>, reading: &mut Reading) -> Option<At<Promiscuous>> {
    let words = [("never", Promiscuous::Never), ("wireless", Promiscuous::Wireless), ("always", Promiscuous::Always)];
    word(text, "promiscuous", &words, "write `never`, `wireless` (on Wi-Fi whose driver loses ARP requests) or `always`", reading)
}

fn seconds(text: At<String>, name: &str, most: u64, help: &str, reading: &mut Reading) -> Option<At<u64>> {
    let digits = text.value.trim();
    match digits.strip_suffix('s').unwrap_or(digits).parse::<u64>() {
        Ok(value) if value <= most => Some(At { value, place: text.place }),
        _ => {
            reading.problem(&text.place, format!("`{name}` has to be a whole number of seconds, not {}", quoted(digits)), help);
            None
        }
    }
}

fn liveness(node: &Node, reading: &mut Reading) -> Option<At<Liveness>> {
    if let Value::Scalar(Scalar { kind: Kind::Text, .. }) = &node.value {
        let message = format!("`liveness` has to be a mapping, not {}", node.description());
        reading.problem(&node.place, message, "in a ConfigMap, write it as YAML under the key `config.yaml`");
        return None;
    }
    let mut fields = Fields::of(node, "`liveness`", reading)?;
    let mut liveness = Liveness::default();
    if let Some(node) = fields.take("wired") {
        pace(node, "wired", &mut liveness.wired, reading);
    }
    if let Some(node) = fields.take("wireless") {
        pace(node, "wireless", &mut liveness.wireless, reading);
    }
    if let Some(port) = fields.number("port", 1, u64::from(u16::MAX), reading) {
        liveness.port = u16::try_from(port.value).unwrap_or(liveness.port);
    }
    fields.finish(reading);
    Some(At { value: liveness, place: node.place.clone() })
}

fn pace(node: &Node, name: &str, pace: &mut Pace, reading: &mut Reading) {
    let Some(mut fields) = Fields::of(node, format!("`{name}`"), reading) else { return };
    if let Some(interval) = fields.text("interval", reading).and_then(|text| milliseconds(&text, reading)) {
        pace.interval = interval;
    }
    // One lost packet is no evidence of anything, so a multiplier of 1, which RFC 5880 allows, is none here.
    if let Some(multiplier) = fields.number("multiplier", 2, u64::from(u8::MAX), reading) {
        pace.multiplier = u8::try_from(multiplier.value).unwrap_or(pace.multiplier);
    }
    fields.finish(reading);
}

/// `100ms` or `1s`. A number without its unit is refused: MetalLB's BFD intervals are milliseconds, our other times are seconds.
fn milliseconds(text: &At<String>, reading: &mut Reading) -> Option<Duration> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    let written = text.value.trim();
    let parsed = if let Some(digits) = written.strip_suffix("ms") {
        digits.trim().parse().ok().map(Duration::from_millis)
    } else {
        written.strip_suffix('s').and_then(|digits| digits.trim().parse().ok()).map(Duration::from_secs)
    };
    let interval = parsed.filter(|interval| (least..=most).contains(interval));
    if interval.is_none() {
        let message = format!("`interval` has to be a time from 10ms to 60s, not {}", quoted(written));
        reading.problem(&text.place, message, "write a whole number and its unit, such as 100ms or 1s");
    }
    interval
}

fn exclude_interfaces(node: &Node, reading: &mut Reading) {
    let names: Vec<At<String>> = if let Value::List(items) = &node.value {
        items.iter().filter_map(|item| fields::text(item, "an interface", reading)).collect()
    } else if let Some(text) = node.as_text() {
        oneline::entries(text).into_iter().map(|(value, place): (String, Place)| At { value, place }).collect()
    } else {
        reading.problem(
            &node.place,
            format!("`excludeInterfaces` has to be a list, not {}", node.description()),
            "write names such as `wlan0` or `veth*`",
        );
        return;
    };
    for name in names {
        let stem = name.value.strip_suffix('*').unwrap_or(&name.value);
        if stem.contains('*') || !oneline::is_link_name(stem) && !stem.is_empty() {
            let message = format!("{} cannot be the name of an interface", quoted(&name.value));
            reading.problem(&name.place, message, "write a name such as `wlan0`, or its beginning and a star at the end: `veth*`");
        } else {
            reading.raw.settings.exclude_interfaces.push(name.value);
        }
    }
}
