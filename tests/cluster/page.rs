//! The status page of a real agent in a real browser: it shows what is so, changes while one looks, asks nobody else, takes whatever a
//! router says for text, and fits a phone. Pictures are left in target/page.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::Options;
use crate::support::browser::Browser;
use crate::support::place::lanlord;
use crate::support::router::{NODES_AS, ROUTER_AS};
use crate::support::seen::service;

const CONFIG: &str = "configmap:lanlord/lanlord";
const PAGE: &str = "http://localhost:7475/";
/// What a router may say of itself when it ends a session.
const HOSTILE: &str = "<img src=x onerror=document.title=1><b>hostile</b>";

/// Two addresses of the LAN and one network beyond it that the router is told of.
fn documents() -> String {
    let metallb = |kind: &str, version: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{{spec}}}\n---\n"
        )
    };
    [
        metallb("IPAddressPool", "v1beta1", "lan", "addresses: [10.77.0.240-10.77.0.241, 'fd77::240-fd77::24f']"),
        metallb("IPAddressPool", "v1beta1", "fabric", "addresses: [10.99.0.0/24], autoAssign: false"),
        metallb("L2Advertisement", "v1beta1", "lan", "ipAddressPools: [lan]"),
        metallb("BGPAdvertisement", "v1beta1", "fabric", "ipAddressPools: [fabric]"),
        metallb(
            "BGPPeer",
            "v1beta2",
            "router",
            &format!("myASN: {NODES_AS}, peerASN: {ROUTER_AS}, peerAddress: 10.77.0.1, connectTime: 1s"),
        ),
    ]
    .concat()
}

struct Page<'a> {
    cluster: &'a Cluster,
    browser: Browser,
}

impl Page<'_> {
    /// Waits until the part of the page has all these words.
    #[track_caller]
    fn wait(&self, selector: &str, words: &[&str]) {
        let mut text = String::new();
        let shown = || {
            text = self.browser.text(selector);
            words.iter().all(|word| text.contains(word))
        };
        self.cluster.wait_until(20, &format!("{selector} shows {words:?}"), shown);
    }

    /// Waits until the row of this Service has all these words.
    #[track_caller]
    fn wait_service(&self, name: &str, words: &[&str]) {
        let script = format!(
            "const rows = [...document.querySelectorAll('#service-table tbody tr')]; \
             const at = rows.findIndex(row => row.querySelector('b') && row.querySelector('b').textContent === {}); \
             const more = rows[at + 1]; \
             return at < 0 ? '' : rows[at].innerText + (more && more.className === 'why' ? more.innerText : '');",
            json!(name)
        );
        let mut text = Value::Null;
        let shown = || {
            text = self.browser.ask(&script);
            text.as_str().is_some_and(|text| words.iter().all(|word| text.contains(word)))
        };
        self.cluster.wait_until(20, &format!("the page shows {name} with {words:?}"), shown);
    }

    #[track_caller]
    fn picture(&self, name: &str, width: u32, scheme: &str) {
        self.browser.look(width, scheme);
        // The picture of the LAN is drawn anew for the width.
        let fits = || self.browser.ask("return document.documentElement.scrollWidth <= window.innerWidth").as_bool() == Some(true);
        self.cluster.wait_until(10, &format!("at {width} pixels nothing has to be scrolled sideways"), fits);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/page");
        self.browser.picture(&folder.join(format!("{name}.png")));
    }
}

#[test]
fn page_shows_what_is_so_and_changes_while_one_looks() {
    let cluster = Cluster::start(&Options::default());
    let router = cluster.router();
    cluster.backend("web", &["n1", "n2"]);
    cluster.configure("metallb.yaml", &documents());
    cluster.agents_start();
    let watched = cluster.path("watched");
    let mut watch = watch(&cluster, "n1", &watched);
    services(&cluster);

    let page = Page { cluster: &cluster, browser: Browser::start(&cluster, "n1") };
    page.browser.look(1280, "light");
    page.browser.open(PAGE);
    page.browser.ask("window.opened = 'once'");
    it_shows_what_is_so(&page);
    page.picture("light", 1280, "light");
    page.picture("dark", 1280, "dark");
    page.picture("phone", 360, "light");
    page.browser.look(1280, "light");

    it_changes(&page);
    let address = &cluster.addresses_of("web")[0];
    cluster.node("n3").agent_stop();
    page.wait("#members", &["takes no part"]);
    page.wait("#timeline", &["n3 left"]);
    page.wait("#problem-list", &["n3 takes no part"]);
    page.picture("left", 1280, "dark");

    let shutdown = format!("neighbor nodes shutdown message {HOSTILE}");
    router.frr.change(&[&format!("router bgp {ROUTER_AS}"), &shutdown]);
    page.wait("#bgp", &["hostile"]);
    page.wait("#timeline", &["the BGP session with router (10.77.0.1) ended", HOSTILE]);
    let strange = page.browser.ask("return [document.querySelectorAll('img').length, document.title]");
    assert!(strange[0] == 0 && strange[1].as_str().is_some_and(|title| title.ends_with("Lanlord on n1")), "{strange}");

    assert_eq!(page.browser.ask("return window.opened"), "once", "nobody reloaded the page");
    assert!(page.browser.complaints().is_empty(), "{:?}", page.browser.complaints());
    a_restart(&page);
    // The browser opens with a page of its own.
    let asked: Vec<String> = page.browser.requests().into_iter().filter(|url| !url.starts_with("chrome:")).collect();
    assert!(asked.len() >= 3, "the page and its events twice: {asked:?}");
    assert!(asked.iter().all(|url| url.starts_with(PAGE) || url.starts_with("data:")), "nobody else is asked: {asked:?}");

    let text = || fs::read_to_string(&watched).unwrap_or_default();
    let has = |words: &str, times: usize| text().matches(words).count() == times;
    let all = || has(&format!("{address} assigned to default/web"), 1) && has("n3 left", 1) && has("the agent of n1 started", 2);
    cluster.wait_until(20, "lanlord watch tells it, too, each once, across the restart", all);
    assert!(text().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "one object a line");
    watch.kill().expect("it still runs");
    watch.wait().expect("it ends");
}

/// `lanlord watch` on a node, into a file.
fn watch(cluster: &Cluster, node: &str, into: &Path) -> std::process::Child {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &cluster.namespace(node), &lanlord(), "watch", "--last", "200", "-o", "json"]);
    command.stdin(Stdio::null()).stdout(File::create(into).expect("its directory is there")).stderr(Stdio::null());
    command.spawn().expect("ip runs")
}

/// One of both families announced, one over BGP, one without Pods, one for which no address is left, one of another class.
fn services(cluster: &Cluster) {
    let none = json!({});
    cluster.apply(&service("web", &json!({"ipFamilyPolicy": "RequireDualStack"}), &none).to_string());
    cluster.wait_announced("web");
    cluster.apply(&service("nobody", &json!({"selector": {"app": "nobody"}}), &none).to_string());
    cluster.wait_until(10, "nobody has an address", || cluster.address("nobody").is_some());
    cluster.apply(&service("late", &none, &none).to_string());
    cluster.apply(&service("routed", &none, &json!({"lanlord.dev/address-pool": "fabric"})).to_string());
    cluster.apply(&service("foreign", &json!({"loadBalancerClass": "example.com/other"}), &none).to_string());
    cluster.wait_announced("routed");
}

fn it_shows_what_is_so(page: &Page<'_>) {
    let cluster = page.cluster;
    let owner = cluster.announcer("web").expect("it is announced");
    for address in cluster.addresses_of("web") {
        page.wait_service("web", &[&address.to_string(), &owner]);
        page.wait("#picture", &[&address.to_string()]);
    }
    page.wait_service("nobody", &["pending", "10.77.0.24", "not announced"]);
    page.wait_service("late", &["pending", "all IPv4 addresses of lan are taken", "add addresses to the configuration"]);
    page.wait_service("routed", &["10.99.0.", "BGP", "n1, n2, n3"]);
    page.wait_service("foreign", &["left alone", "example.com/other"]);
    page.wait("#problem-list", &["default/late has no address", "add addresses to the configuration or delete a Service"]);
    page.wait("#picture", &["n1", "n2", "n3", "10.77.0.0/24", "router", "leads"]);
    page.wait("#members", &["this agent", "heard", "10.77.0.12"]);
    page.wait("#bgp", &["router", "10.77.0.1", "Established", &ROUTER_AS.to_string()]);
    page.wait("#bfd", &["n2", "n3", "Up", "400 ms"]);
    page.wait("#pools", &["lan", "2 of 2 IPv4 in use", "fabric", "on request only"]);
    page.wait("#timeline", &["assigned to default/web", "is announced by", "the BGP session with router (10.77.0.1) is Established"]);
    page.wait("#live", &["live"]);
    page.wait("#tiles", &["Services announced", "members alive", "BGP sessions up"]);
    let node = page.cluster.node("n1");
    for path in ["", "status", "events"] {
        let from_elsewhere = cluster.client.run(&[
            "curl",
            "-s",
            "--max-time",
            "3",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("http://10.77.0.11:7475/{path}"),
        ]);
        assert_eq!(from_elsewhere.as_deref(), Ok("403"), "/{path} is for this host only");
    }
    let rebound = node.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: rebound.example", PAGE]);
    assert_eq!(rebound, "403");
}

fn it_changes(page: &Page<'_>) {
    let cluster = page.cluster;
    cluster.apply(&service("fresh", &json!({}), &json!({"lanlord.dev/address-pool": "fabric"})).to_string());
    page.wait_service("fresh", &["10.99.0.", "BGP"]);
    cluster.kubectl(&["delete", "service", "nobody"]);
    page.wait_service("late", &["10.77.0.24", "lan"]);
    page.wait("#timeline", &["released: default/nobody had it", "assigned to default/late"]);
    page.wait("#verdict", &["All is well"]);
}

/// The agent behind the page is replaced: the page says so, and goes on by itself.
fn a_restart(page: &Page<'_>) {
    let node = page.cluster.node("n1");
    node.agent_kill();
    page.wait("#live", &["reconnecting"]);
    node.agent_start(CONFIG);
    page.wait("#live", &["live"]);
    page.wait("#timeline", &["the agent of n1 started"]);
    assert_eq!(page.browser.ask("return window.opened"), "once");
}
