use std::sync::Arc;
use std::sync::atomic::Ordering;

use framex_core::descriptor::PluginMetadata;
use semver::Version;

use super::super::adr32::{self, ANNOUNCEMENT};
use super::super::learn::Unlearnt;
use super::*;

/// Some time, to count from.
const T: u64 = 1_000_000;
/// The registry looks so often.
const STEP: u64 = 100;

fn registry() -> Registry {
    let mut registry = Registry::new("own".into(), None);
    registry.look(T - 5_000, &mut Vec::new());
    for time in (T - 4_900..T).step_by(100) {
        registry.look(time, &mut Vec::new());
    }
    registry
}

fn announce(registry: &mut Registry, id: &str, digest: &str, state: Stage, now: u64) {
    let said = Announcement {
        kind: ANNOUNCEMENT.into(),
        name: "p".into(),
        id: id.into(),
        version: "1.0.0".into(),
        digest: digest.into(),
        state,
        ongoing: 7,
        connects: 1,
        beat: 2000,
    };
    registry.announced(("p", id), &said, now);
}

fn ping(name: &str, id: &str, metadata: &str) -> Said {
    let json = format!(
        r#"{{"type":"{}","name":"{name}","id":"{id}","version":"1.0.0","metadata":{metadata}}}"#,
        adr32::PING
    );
    Said::read(adr32::PING, json.as_bytes()).unwrap()
}

fn service(digest: &str, complete: bool) -> Service {
    Service {
        ours: true,
        digest: digest.into(),
        version: Version::new(1, 0, 0),
        plugin: Arc::new(PluginMetadata::default()),
        apis: Vec::new(),
        refused: Vec::new(),
        complete,
    }
}

/// Learns everything that is to be learnt; gives who was asked.
fn teach(registry: &mut Registry, digest: &str, now: u64) -> Vec<Who> {
    let lessons = registry.lessons(now);
    for (topic, who) in &lessons {
        registry.learnt(topic, who, Ok(service(digest, true)), now);
    }
    lessons.into_iter().map(|(_, who)| who).collect()
}

fn live(registry: &Registry) -> usize {
    registry.parts().filter(|part| part.live).count()
}

fn known(registry: &Registry) -> usize {
    registry.parts().count()
}

/// Looks every now and then from `from` to `to`; nobody answers. Gives when
/// calls were lost.
fn silence(registry: &mut Registry, from: u64, to: u64) -> Option<u64> {
    silence_and(registry, from, to, true)
}

/// As [`silence`]; perhaps not even the broker answers.
fn silence_and(registry: &mut Registry, from: u64, to: u64, broker: bool) -> Option<u64> {
    let mut at = None;
    for now in (from..to).step_by(100) {
        let mut lost = Vec::new();
        for who in registry.look(now, &mut lost) {
            registry.pinged(&who, Pinged::Nothing, now + STEP / 2);
            if broker {
                registry.broker_answered(now + 1);
            }
        }
        if !lost.is_empty() {
            at.get_or_insert(now);
        }
    }
    at
}

#[test]
fn instances_of_one_build_are_asked_once() {
    let mut registry = registry();
    for id in ["a", "b", "c"] {
        announce(&mut registry, id, "d", Stage::Ready, T);
    }
    assert!(!registry.is_settled());
    assert_eq!(teach(&mut registry, "d", T).len(), 1);
    assert_eq!(live(&registry), 3);
    announce(&mut registry, "late", "d", Stage::Ready, T + 1);
    assert_eq!(live(&registry), 4);
    assert!(registry.is_settled());
    assert_eq!(teach(&mut registry, "d", T + 100_000).len(), 0);
}

#[test]
fn what_was_served_before_a_change_is_forgotten() {
    let mut registry = registry();
    for (n, digest) in ["0", "1", "2", "3"].into_iter().enumerate() {
        let now = T + n as u64;
        announce(&mut registry, "a", digest, Stage::Ready, now);
        assert_eq!(teach(&mut registry, digest, now).len(), 1);
        assert_eq!((live(&registry), registry.builds.len()), (1, 1));
    }
}

#[test]
fn a_change_is_learnt_while_the_old_is_still_served() {
    let mut registry = registry();
    announce(&mut registry, "a", "old", Stage::Ready, T);
    teach(&mut registry, "old", T);
    announce(&mut registry, "a", "new", Stage::Ready, T + 1);
    assert_eq!(live(&registry), 1);
    assert_eq!(teach(&mut registry, "new", T + 1).len(), 1);
    let parts: Vec<_> = registry
        .parts()
        .map(|part| part.service.digest.clone())
        .collect();
    assert_eq!(parts, ["new"]);
}

#[test]
fn who_leaves_in_good_order_is_gone_at_once() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let instance = Arc::clone(registry.parts().next().unwrap().instance);
    assert_eq!(instance.ongoing.load(Ordering::Relaxed), 7);
    announce(&mut registry, "a", "d", Stage::Draining, T + 10);
    assert_eq!((known(&registry), live(&registry)), (1, 0));
    assert!(instance.shunned.load(Ordering::Relaxed));
    announce(&mut registry, "a", "d", Stage::Stopped, T + 20);
    assert_eq!(known(&registry), 0);
    registry.look(T + STEP, &mut Vec::new());
    assert!(registry.peers.is_empty());
    // Its last word does not bring it back.
    announce(&mut registry, "a", "d", Stage::Stopped, T + 30);
    assert!(registry.peers.is_empty());
}

#[test]
fn last_calls_of_the_stopped_are_waited_for_while_they_beat() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let instance = Arc::clone(registry.parts().next().unwrap().instance);
    instance.outstanding.store(1, Ordering::Relaxed);
    announce(&mut registry, "a", "d", Stage::Stopped, T + 10);
    assert_eq!(silence(&mut registry, T + 100, T + 3_000), None);
    instance.lives_at(T + 3_000);
    assert_eq!(silence(&mut registry, T + 3_000, T + 6_000), None);
    let lost = silence(&mut registry, T + 6_000, T + 7_000).unwrap();
    assert!(lost <= T + 6_400, "{lost}");
}

#[test]
fn the_silent_are_asked_and_then_given_up() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let lost = silence(&mut registry, T + 100, T + 5_000).unwrap();
    assert!((T + 2_600..T + 2_900).contains(&lost), "{lost}");
    assert_eq!((known(&registry), live(&registry)), (1, 0));
    announce(&mut registry, "a", "d", Stage::Ready, T + 5_000);
    assert_eq!(live(&registry), 1);
}

#[test]
fn whoever_answers_lives() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let metadata = r#"{"framex.protocol":"1","framex.digest":"d","framex.state":"ready"}"#;
    for now in (T + 100..T + 20_000).step_by(100) {
        let mut lost = Vec::new();
        for who in registry.look(now, &mut lost) {
            let answer = Box::new(ping("p", "a", metadata));
            registry.pinged(&who, Pinged::Answered(answer), now + 50);
        }
        assert!(lost.is_empty());
        assert_eq!(live(&registry), 1);
    }
}

#[test]
fn nobody_is_silent_while_the_broker_is() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let lost = silence_and(&mut registry, T + 100, T + 10_000, false);
    assert_eq!((lost, live(&registry)), (None, 1));
    let lost = silence(&mut registry, T + 10_000, T + 12_000);
    assert!(lost.is_some_and(|at| at >= T + 10_400), "{lost:?}");
}

#[test]
fn nobody_is_silent_while_this_process_sleeps() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    let late = T + 60_000;
    assert_eq!(silence(&mut registry, late, late + 500), None);
    announce(&mut registry, "a", "d", Stage::Ready, late + 500);
    assert_eq!(live(&registry), 1);
}

#[test]
fn after_a_reconnect_there_is_time_to_come_back() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    silence(&mut registry, T + 100, T + 2_500);
    registry.reconnected(T + 2_500);
    assert_eq!(silence(&mut registry, T + 2_500, T + 5_500), None);
    assert!(silence(&mut registry, T + 5_500, T + 6_500).is_some());
}

#[test]
fn the_broker_is_asked_twice_whether_somebody_is_gone() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    teach(&mut registry, "d", T);
    registry
        .parts()
        .next()
        .unwrap()
        .instance
        .suspected
        .store(true, Ordering::Relaxed);
    let who = registry
        .look(T + 300, &mut Vec::new())
        .pop()
        .expect("it is asked");
    assert!(
        registry
            .pinged(&who, Pinged::NoResponders, T + 301)
            .is_none()
    );
    assert_eq!(
        (known(&registry), live(&registry)),
        (1, 0),
        "no calls for now"
    );
    let who = registry
        .look(T + 600, &mut Vec::new())
        .pop()
        .expect("it is asked");
    assert!(
        registry
            .pinged(&who, Pinged::NoResponders, T + 601)
            .is_some()
    );
    assert_eq!(known(&registry), 1, "it is missed");
    silence(&mut registry, T + 700, T + 61_000);
    assert_eq!(known(&registry), 0, "but not for ever");
}

#[test]
fn what_cannot_be_learnt_is_named_and_asked_again_ever_more_seldom() {
    let mut registry = registry();
    announce(&mut registry, "a", "d", Stage::Ready, T);
    let mut asked = Vec::new();
    for now in (T..T + 20_000).step_by(50) {
        for (topic, who) in registry.lessons(now) {
            let nonsense = Unlearnt::Nonsense("it talks nonsense".into());
            registry.learnt(&topic, &who, Err(nonsense), now);
            asked.push(now - T);
        }
    }
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert_eq!(
        registry.problems(),
        ["instance `a` of `p` (version 1.0.0): it talks nonsense"]
    );
    assert!(registry.is_settled(), "given up for now");
}

#[test]
fn foreign_services_are_asked_again_what_they_serve() {
    let mut registry = registry();
    registry.answered(&ping("weather", "w1", "null"), T);
    let mut asked = 0;
    for now in (T..T + 10_000).step_by(100) {
        registry.answered(&ping("weather", "w1", "null"), now);
        asked += teach(&mut registry, "same", now).len();
    }
    assert_eq!(asked, 6);
}

#[test]
fn this_process_other_namespaces_and_impossible_names_are_nobody() {
    let mut registry = registry();
    announce(&mut registry, "own", "d", Stage::Ready, T);
    let elsewhere = r#"{"framex.protocol":"1","framex.namespace":"team"}"#;
    registry.answered(&ping("p", "a", elsewhere), T);
    for (name, id) in [("a.b", "x"), ("a", ">"), ("", "x"), ("a", " ")] {
        registry.answered(&ping(name, id, "null"), T);
    }
    let long = "x".repeat(LONGEST_NAME + 1);
    registry.answered(&ping(&long, "a", "null"), T);
    assert!(registry.peers.is_empty());
}

#[test]
fn the_registry_is_bounded() {
    let mut registry = registry();
    for n in 0..MOST + 100 {
        registry.answered(&ping("p", &format!("i{n}"), "null"), T);
    }
    assert_eq!(registry.peers.len(), MOST);
    assert!(registry.problems()[0].contains("more than"));
    // Places of those who are gone are free again.
    silence(&mut registry, T + 100, T + 4_000);
    registry.answered(&ping("p", "new", "null"), T + 4_000);
    assert!(registry.peers.len() < MOST);
}
