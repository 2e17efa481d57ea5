//! What the planner mends is what it would have planned anew, whatever has happened; and it leaves alone what nothing happened to.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanlord::addr::Family;
use lanlord::config::{Config, PoolName};
use lanlord::facts::{Living, ServiceKey};
use lanlord::plan::{GroupPlan, Planner, plan};
use proptest::prelude::*;

use crate::world::{World, config, ip, key, pool};

#[derive(Clone, Debug)]
enum Step {
    /// Alone, or sharing with others, or with both families.
    Create(u8, u8),
    Delete(u8),
    /// Ours, of another class, or being deleted.
    Class(u8, u8),
    Endpoints(u8, u8),
    Labels(u8, bool),
    Leave(u8),
    Ready(u8, bool),
    /// Whether the configurations of the members differ.
    Version(bool),
    Detached(bool),
    Pool(u8),
    /// Only so many writes of the leader get through.
    Crash(u8),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..9u8, 0..3u8).prop_map(|(service, kind)| Step::Create(service, kind)),
        2 => (0..9u8).prop_map(Step::Delete),
        2 => (0..9u8, 0..3u8).prop_map(|(service, class)| Step::Class(service, class)),
        3 => (0..9u8, 0..4u8).prop_map(|(service, node)| Step::Endpoints(service, node)),
        1 => (0..9u8, any::<bool>()).prop_map(|(service, on)| Step::Labels(service, on)),
        1 => (1..4u8).prop_map(Step::Leave),
        1 => (1..4u8, any::<bool>()).prop_map(|(node, on)| Step::Ready(node, on)),
        1 => any::<bool>().prop_map(Step::Version),
        1 => any::<bool>().prop_map(Step::Detached),
        1 => (2..9u8).prop_map(Step::Pool),
        2 => (0..6u8).prop_map(Step::Crash),
        4 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40)
}

fn home(length: u8) -> Config {
    let mut config =
        config(vec![pool("default", &[&format!("192.168.1.240-{}", 240 + length), &format!("fd00::f0-fd00::{:x}", 0xf0 + length)])]);
    config.l2_advertisements[0].pools = [PoolName::new("default")].into();
    config
}

fn play(world: &mut World, step: &Step) {
    let exists = |world: &World, service: u8| world.snapshot.services.contains_key(&key(&format!("s{service}")));
    match step {
        Step::Create(service, kind) if !exists(world, *service) => world.create(&format!("s{service}"), |service| match kind {
            0 => {}
            1 => drop(service.annotations.insert("metallb.io/allow-shared-ip".to_owned(), "k".to_owned())),
            _ => service.families = vec![Family::V4, Family::V6],
        }),
        Step::Delete(service) => world.delete(&format!("s{service}")),
        Step::Class(service, class) if exists(world, *service) => world.edit(&format!("s{service}"), |service| {
            service.deleting = *class == 2;
            service.class = (*class == 1).then(|| "example.com/other".to_owned());
        }),
        Step::Labels(service, on) if exists(world, *service) => world.edit(&format!("s{service}"), |service| {
            service.labels = on.then(|| ("a".to_owned(), "b".to_owned())).into_iter().collect();
        }),
        Step::Endpoints(service, node) => {
            let nodes: Vec<String> = (*node > 0).then(|| format!("n{node}")).into_iter().collect();
            world.endpoints(&format!("s{service}"), &nodes.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Step::Leave(node) => world.leave(&format!("n{node}")),
        Step::Ready(node, on) => world.node(&format!("n{node}"), |node| node.ready = *on),
        Step::Version(differ) => world.member("n1", |member| member.config = differ.then(|| "other".into())),
        Step::Detached(on) => world.detached = on.then(|| "n2".into()).into_iter().collect(),
        Step::Pool(length) => world.config = home(*length),
        Step::Crash(writes) => {
            let decision = world.decide();
            for work in decision.work.into_iter().take(usize::from(*writes)) {
                world.carry_out(work);
            }
            for tend in decision.tend.into_iter().take(usize::from(*writes)) {
                world.tend(tend);
            }
        }
        Step::Settle => drop(world.settle()),
        Step::Create(..) | Step::Class(..) | Step::Labels(..) => {}
    }
}

/// What an agent holds: shared, and the same one while nothing changes.
#[derive(Default)]
struct Held {
    config: Option<Arc<Config>>,
    living: Arc<Living>,
}

impl Held {
    fn look(&mut self, world: &World) -> (Arc<Config>, Arc<Living>) {
        let config = self.config.take().filter(|held| **held == world.config).unwrap_or_else(|| Arc::new(world.config.clone()));
        self.config = Some(config.clone());
        let living = world.living();
        if *self.living != living {
            self.living = Arc::new(living);
        }
        (config, self.living.clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mended_plan_is_the_plan(steps in steps()) {
        let mut world = World::new(3, home(6));
        let (mut planner, mut held) = (Planner::default(), Held::default());
        for step in &steps {
            play(&mut world, step);
            let (config, living) = held.look(&world);
            let mended = planner.plan(&config, &world.snapshot, &living);
            prop_assert_eq!(&*mended, &plan(&config, &world.snapshot, &living), "after {:?}", step);
            prop_assert!(Arc::ptr_eq(&mended, &planner.plan(&config, &world.snapshot, &living)));
        }
    }
}

#[test]
fn a_service_that_becomes_ours_joins_those_that_share_its_address() {
    use Step::{Class, Create, Settle};
    let mut world = World::new(3, home(6));
    let (mut planner, mut held) = (Planner::default(), Held::default());
    for step in [Create(0, 1), Create(1, 1), Settle, Class(0, 1), Class(0, 0)] {
        play(&mut world, &step);
        let (config, living) = held.look(&world);
        let mended = planner.plan(&config, &world.snapshot, &living);
        assert_eq!(*mended, plan(&config, &world.snapshot, &living), "after {step:?}");
    }
    assert_eq!(planner.plan(&held.look(&world).0, &world.snapshot, &held.living).groups.len(), 1);
}

#[test]
fn only_the_group_that_something_happened_to_is_planned_anew() {
    let mut world = World::new(3, home(8));
    for number in 0..8 {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    let (mut planner, mut held) = (Planner::default(), Held::default());
    let mut groups = |world: &World| -> BTreeMap<ServiceKey, Arc<GroupPlan>> {
        let (config, living) = held.look(world);
        planner.plan(&config, &world.snapshot, &living).groups.clone()
    };
    let before = groups(&world);
    assert_eq!(before.len(), 8);
    world.endpoints("s3", &[]);
    let after = groups(&world);
    let renewed: Vec<&ServiceKey> = before.iter().filter(|(name, plan)| !Arc::ptr_eq(plan, &after[*name])).map(|(name, _)| name).collect();
    assert_eq!(renewed, [&key("s3")]);
    assert!(after[&key("s3")].owner.is_err());
    assert!(after[&key("s3")].group.claims.keys().all(|address| *address >= ip("192.168.1.240")));
}
