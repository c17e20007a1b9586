//! Which of those that serve an API gets a call.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::nats::peers::{Endpoint, Instance, Remote};

/// An instance that keeps calls waiting and says nothing comes last. One that is
/// only busy has been asked by then, and has answered.
const QUIET_MS: u64 = 800;

/// The instance that a message to the whole group will reach, if there is but one.
pub(super) fn sole(remote: &Remote, instance: Arc<Instance>) -> Option<Arc<Instance>> {
    (remote.endpoints.load().len() == 1).then_some(instance)
}

/// The less loaded of two that are picked by chance: spreads as well as looking
/// at all of them, and callers that know the same do not all choose the same.
pub(super) fn choose(endpoints: &[Endpoint], tried: &[Arc<Instance>]) -> Option<Endpoint> {
    let free = |endpoint: &&Endpoint| {
        !endpoint.instance.shunned.load(Ordering::Relaxed)
            && !tried.iter().any(|t| Arc::ptr_eq(t, &endpoint.instance))
    };
    match endpoints {
        [] => None,
        [one] => Some(one).filter(free).cloned(),
        many => {
            let from = |offset: usize| {
                let mut order = (0..many.len()).map(|n| (n + offset) % many.len());
                order.find(|at| free(&&many[*at]))
            };
            let first = from(random(many.len()))?;
            // Another one, if there is one: else a frozen one of two would be picked
            // against itself in a quarter of all calls.
            let second = from(first + 1 + random(many.len() - 1))?;
            let (first, second) = (&many[first], &many[second]);
            let better = if load(&second.instance) < load(&first.instance) {
                second
            } else {
                first
            };
            Some(better.clone())
        }
    }
}

fn load(instance: &Instance) -> u32 {
    let mine = instance.outstanding.load(Ordering::Relaxed);
    let all = instance.ongoing.load(Ordering::Relaxed);
    let quiet = instance.suspected.load(Ordering::Relaxed) && instance.silence_ms() > QUIET_MS;
    mine.max(all)
        .saturating_add(if quiet { 1_000_000 } else { 0 })
}

/// A number below `limit`, good enough for spreading.
fn random(limit: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(uuid::Uuid::new_v4().as_u64_pair().1 | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        usize::try_from(x >> 33).unwrap_or(0) % limit
    })
}
