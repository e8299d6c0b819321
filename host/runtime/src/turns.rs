//! The turns of calls that compute for longer than a tick of the engine.

use std::{pin::Pin, sync::Arc};

use tokio::{sync::Mutex, task::yield_now};

/// How often a call that computes stands back for the thread's other work. A yield ends when the thread has nothing else to
/// do, or after a number of tasks. Events that arrived meanwhile start tasks that start others, such as the connection,
/// the instance and the connection again. The second yield lets these finish.
const YIELDS: usize = 2;

/// The turns of one component on one thread.
///
/// All components share the threads. If each call that computes had its part of a thread, a component with many such calls
/// would take the thread from the others. Therefore, only one of a component's calls competes with the others' work at a
/// time, in order of arrival.
#[derive(Default)]
pub(crate) struct Turns(Mutex<()>);

impl Turns {
    /// Waits until a call that was interrupted may go on until the next tick.
    pub(crate) fn next(this: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _turn = this.0.lock().await;
            for _ in 0..YIELDS {
                yield_now().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::Write as _,
        os::unix::net,
        rc::Rc,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::{net::UnixStream, spawn, task::LocalSet};

    use super::*;

    /// Three calls of one component and one of another, each of which is interrupted three times.
    #[tokio::test]
    async fn components_share_a_thread_and_not_their_calls() {
        let ran = Rc::new(RefCell::new(String::new()));
        let (many, one) = (Arc::<Turns>::default(), Arc::<Turns>::default());
        let calls = LocalSet::new();
        for (name, turns) in [('a', &many), ('b', &many), ('c', &many), ('x', &one)] {
            let (turns, ran) = (turns.clone(), ran.clone());
            calls.spawn_local(async move {
                for _ in 0..3 {
                    Turns::next(turns.clone()).await;
                    ran.borrow_mut().push(name);
                }
            });
        }
        calls.await;
        let (ran, last) = (ran.borrow(), ran.borrow().rfind('x').unwrap());
        assert_eq!(ran.replace('x', ""), "abcabcabc", "in order of arrival");
        assert!(last <= 6, "{ran}: no more turns of the others than its own");
    }

    /// By default, a runtime looks for events after 61 tasks. Here, a task is a tick: the wait would be 0.3 s.
    #[tokio::test]
    async fn events_do_not_wait_for_a_call_that_computes() {
        let ticks = Arc::<AtomicUsize>::default();
        let counted = ticks.clone();
        let computing = spawn(async move {
            let turns = Arc::<Turns>::default();
            loop {
                Turns::next(turns.clone()).await;
                counted.fetch_add(1, Relaxed);
            }
        });
        let (client, mut peer) = net::UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        let client = UnixStream::from_std(client).unwrap();
        for _ in 0..10 {
            let before = ticks.load(Relaxed);
            peer.write_all(b"x").unwrap();
            let mut byte = [0];
            while client.try_read(&mut byte).is_err() {
                client.readable().await.unwrap();
            }
            assert!(ticks.load(Relaxed) - before <= 2);
        }
        computing.abort();
    }
}
