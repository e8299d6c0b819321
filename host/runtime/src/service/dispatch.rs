//! The queue between a thread's connections and its instances, and the decision when to make another instance.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Notify, time};

use super::{Call, CallError};
use wasi_http_host_core::lock;

use crate::{ComponentMetrics, Template, WorkerMetrics, component::Linked, keyvalue::OnWait};

/// How often waiting calls are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A call that waits longer, while nothing moves, gets another instance.
const SCALE_UP_AFTER: Duration = Duration::from_millis(3);
/// Instances that may be in the making at once for waiting calls.
const MAX_STARTING: usize = 8;
/// A component whose start fails again and again is reported no more often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What bounds the instances of one thread.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Instances that may live at once.
    pub instances: usize,
    /// Calls that an instance serves at once.
    pub concurrency: usize,
    /// Calls that a new instance can be counted on to take at once: one where it may stand still in any of them.
    pub at_once: usize,
    /// Calls that it serves in its life.
    pub max_calls: usize,
    /// How long it is kept without work.
    pub idle: Duration,
    /// How long its tasks may run on without a call.
    pub background: Duration,
    /// From a call to its head; also for the start of an instance.
    pub request: Duration,
    /// For a body that is written within the call, as `wasi:http@0.2` does.
    pub response: Duration,
}

/// What an instance does from its making to its end, in a task of its own.
pub(super) type RunInstance = fn(InstanceLease) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The calls and instances of one thread.
pub struct Dispatch {
    pub(super) engine: wasmtime::Engine,
    pub(super) linked: Arc<Linked>,
    pub(super) template: Template,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<ComponentMetrics>,
    pub(super) worker: Arc<WorkerMetrics>,
    runtime: Handle,
    run_instance: RunInstance,
    state: Mutex<State>,
    /// The queue's length, to be read without the lock.
    waiting: AtomicUsize,
    draining: AtomicBool,
    /// The thread had nothing to do although calls waited: all instances are blocked or full.
    starved: AtomicBool,
    /// Notified when calls begin to wait, and at the end.
    work_arrived: Arc<Notify>,
    /// An instance has been made, or has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Call>,
    handles: Vec<InstanceHandle>,
    /// Instances that live or are being made.
    live: usize,
    /// Those of them that are being made.
    starting: usize,
    next_id: u64,
    /// Calls that instances have taken so far.
    taken: u64,
    /// Somebody looks at the queue regularly.
    watched: bool,
    reported: Option<Instant>,
    /// Why the last attempt to make an instance came to nothing.
    failed: Option<CallError>,
}

/// An instance, seen from the queue.
struct InstanceHandle {
    id: u64,
    waker: Waker,
    /// It would take a call now.
    taking: bool,
    /// It stands still in a call of a remote store, and nobody in it gets a turn.
    standing: Arc<AtomicBool>,
}

impl InstanceHandle {
    fn is_free(&self) -> bool {
        self.taking && !self.standing.load(Ordering::Relaxed)
    }
}

impl Dispatch {
    /// For the thread that `runtime` runs on. Each instance is made and driven by `run_instance`.
    #[expect(clippy::too_many_arguments, reason = "each is another part of the whole")]
    pub(super) fn new(
        run_instance: RunInstance,
        engine: wasmtime::Engine,
        linked: Arc<Linked>,
        template: Template,
        limits: Limits,
        metrics: Arc<ComponentMetrics>,
        worker: Arc<WorkerMetrics>,
        runtime: Handle,
    ) -> Arc<Self> {
        let work_arrived = Arc::new(Notify::new());
        let dispatch = Arc::new(Self {
            engine,
            linked,
            template,
            limits,
            metrics,
            worker,
            runtime,
            run_instance,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            work_arrived: work_arrived.clone(),
            changed: Notify::new(),
        });
        dispatch.runtime.spawn(Self::supervise(Arc::downgrade(&dispatch), work_arrived));
        dispatch
    }

    /// Queues a call. The queue is bounded by the admission before it.
    pub fn submit(self: &Arc<Self>, call: Call) {
        let mut state = lock(&self.state);
        state.queue.push_back(call);
        self.waiting.store(state.queue.len(), Ordering::Release);
        // The oldest instance first, so that spares fall idle and go.
        let waker = state.handles.iter().find(|handle| handle.is_free()).map(|handle| handle.waker.clone());
        if waker.is_none() && state.starting.saturating_mul(self.limits.at_once) < state.queue.len() {
            self.start_instance(&mut state);
        }
        let unwatched = !std::mem::replace(&mut state.watched, true);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if unwatched {
            self.work_arrived.notify_one();
        }
    }

    /// Makes an instance although no call waits, so that the first does not wait for it.
    pub fn warm_up(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.live == 0 {
            self.start_instance(&mut state);
        }
    }

    fn start_instance(self: &Arc<Self>, state: &mut State) {
        if state.live >= self.limits.instances {
            return;
        }
        state.live += 1;
        state.starting += 1;
        state.next_id += 1;
        self.runtime.spawn((self.run_instance)(InstanceLease {
            dispatch: self.clone(),
            id: state.next_id,
            registered: false,
            taking: false,
            standing: Arc::default(),
        }));
    }

    /// An instance has begun to stand still: what it would have taken is another's now.
    fn hand_over(self: &Arc<Self>) {
        if self.waiting() == 0 {
            return;
        }
        let mut state = lock(&self.state);
        let waker = state.handles.iter().find(|handle| handle.is_free()).map(|handle| handle.waker.clone());
        if waker.is_none() {
            for _ in state.starting..state.queue.len().min(MAX_STARTING) {
                self.start_instance(&mut state);
            }
        }
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// To be called when the thread is about to sleep.
    pub fn on_park(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.starved.store(true, Ordering::Relaxed);
        }
    }

    /// Looks after waiting calls, as long as there can be any.
    async fn supervise(this: Weak<Self>, work_arrived: Arc<Notify>) {
        loop {
            work_arrived.notified().await;
            let mut taken_before = None;
            loop {
                let Some(dispatch) = this.upgrade() else { return };
                let Some(taken) = dispatch.look(taken_before, Instant::now()) else { break };
                taken_before = Some(taken);
                drop(dispatch);
                time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Answers calls that have waited too long, and makes a spare instance when nothing moves. `None` when no
    /// call waits, else how many calls have been taken so far.
    fn look(self: &Arc<Self>, taken_before: Option<u64>, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        let mut late = Vec::new();
        while let Some(call) = state.queue.pop_front_if(|call| call.deadline <= now) {
            late.push(call);
        }
        // Behind one that waits, too: a client that takes its requests back has given up their places, and may make others.
        state.queue.retain(|call| !call.is_abandoned());
        self.waiting.store(state.queue.len(), Ordering::Release);
        let starved = self.starved.swap(false, Ordering::Relaxed);
        let mut wakers = Vec::new();
        let taken = match state.queue.front().map(|call| call.queued) {
            None => {
                state.watched = false;
                None
            }
            Some(oldest) => {
                let stuck = starved || taken_before == Some(state.taken) || state.live == 0;
                if stuck && now.duration_since(oldest) >= SCALE_UP_AFTER {
                    wakers.extend(
                        state
                            .handles
                            .iter()
                            .filter(|handle| handle.taking)
                            .map(|handle| handle.waker.clone()),
                    );
                    let wanted = state.queue.len().div_ceil(self.limits.at_once);
                    for _ in state.starting..wanted.min(MAX_STARTING) {
                        self.start_instance(&mut state);
                    }
                }
                Some(state.taken)
            }
        };
        drop(state);
        for call in late {
            // One that was abandoned just now has nobody who minds.
            let _ = call.reply.send(Err(CallError::NoInstance));
        }
        wakers.into_iter().for_each(Waker::wake);
        taken
    }

    /// No further work will come: instances go when they have nothing to do.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let wakers: Vec<_> = lock(&self.state).handles.iter().map(|handle| handle.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until no instance is left.
    pub async fn drained(&self) {
        self.until(|state| state.live == 0).await;
    }

    /// Waits until there is an instance.
    pub async fn first_instance(&self) {
        self.until(|state| !state.handles.is_empty()).await;
    }

    /// Makes an instance, and waits until it is there, or cannot be made.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn proven(self: &Arc<Self>) -> Result<(), CallError> {
        self.warm_up();
        self.until(|state| !state.handles.is_empty() || state.live == 0).await;
        lock(&self.state).failed.clone().map_or(Ok(()), Err)
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // In place before the look, so that no change goes by between the two.
            changed.as_mut().enable();
            if condition(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }

    /// Calls that wait for an instance.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        // Nothing is left to look after.
        self.work_arrived.notify_one();
    }
}

/// An instance's side of the queue; it leaves when dropped, which must be after its store, whose slot it counts.
pub(super) struct InstanceLease {
    pub(super) dispatch: Arc<Dispatch>,
    id: u64,
    registered: bool,
    taking: bool,
    standing: Arc<AtomicBool>,
}

impl InstanceLease {
    /// To be told when the instance begins and ends to stand still.
    pub(super) fn on_wait(&self) -> OnWait {
        let (dispatch, standing) = (self.dispatch.clone(), self.standing.clone());
        Arc::new(move |begins| {
            standing.store(begins, Ordering::Relaxed);
            if begins {
                dispatch.hand_over();
            }
        })
    }

    /// The instance is made, and lives in the task of `waker`.
    pub(super) fn register(&mut self, waker: &Waker) {
        let mut state = lock(&self.dispatch.state);
        state.starting -= 1;
        state.failed = None;
        state.handles.push(InstanceHandle {
            id: self.id,
            waker: waker.clone(),
            taking: false,
            standing: self.standing.clone(),
        });
        self.registered = true;
        drop(state);
        self.dispatch.changed.notify_waiters();
    }

    /// The instance could not be made. Its waiting calls are answered when no other instance could.
    pub(super) fn give_up(&mut self, error: &CallError) {
        let mut state = lock(&self.dispatch.state);
        state.failed = Some(error.clone());
        let now = Instant::now();
        if state.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            state.reported = Some(now);
            tracing::error!(component = self.dispatch.metrics.component(), %error, "no instance could be made");
        }
        // A full pool is a matter of time, and calls have theirs; anything else will not get better.
        if matches!(error, CallError::NoInstance) || !state.handles.is_empty() {
            return;
        }
        let calls = std::mem::take(&mut state.queue);
        self.dispatch.waiting.store(0, Ordering::Release);
        drop(state);
        for call in calls {
            let _ = call.reply.send(Err(error.clone()));
        }
    }

    /// The next call. Without one, the task is woken when there is.
    pub(super) fn take(&mut self, cx: &mut Context<'_>) -> Option<Call> {
        if self.taking && self.dispatch.waiting() == 0 {
            return None;
        }
        let mut state = lock(&self.dispatch.state);
        let call = loop {
            match state.queue.pop_front() {
                Some(call) if call.is_abandoned() => {}
                other => break other,
            }
        };
        self.dispatch.waiting.store(state.queue.len(), Ordering::Release);
        if call.is_some() {
            state.taken += 1;
        }
        if !self.taking
            && let Some(handle) = state.handles.iter_mut().find(|handle| handle.id == self.id)
        {
            handle.taking = true;
            handle.waker.clone_from(cx.waker());
            self.taking = true;
        }
        call
    }

    /// No further call now.
    pub(super) fn withdraw(&mut self) {
        if std::mem::take(&mut self.taking)
            && let Some(handle) =
                lock(&self.dispatch.state).handles.iter_mut().find(|handle| handle.id == self.id)
        {
            handle.taking = false;
        }
    }
}

impl Drop for InstanceLease {
    fn drop(&mut self) {
        let mut state = lock(&self.dispatch.state);
        state.live -= 1;
        if self.registered {
            state.handles.retain(|handle| handle.id != self.id);
        } else {
            state.starting -= 1;
        }
        // A place is free: calls that waited for one get it now.
        let free = state.handles.iter().any(|handle| handle.taking);
        if !state.queue.is_empty() && !free && state.starting == 0 && self.registered {
            self.dispatch.start_instance(&mut state);
        }
        drop(state);
        self.dispatch.changed.notify_waiters();
    }
}
