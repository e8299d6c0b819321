//! The queue between a thread's connections and its instances, which also decides when to create another instance.

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

use crate::{ComponentMetrics, Template, WorkerMetrics, component::Linked, keyvalue::OnWait, turns::Turns};

/// How often the supervisor checks the calls that wait.
const CHECK_EVERY: Duration = Duration::from_millis(5);
/// If the oldest call waits longer and no call is taken meanwhile, the supervisor creates another instance.
const SCALE_UP_AFTER: Duration = Duration::from_millis(3);
/// The most instances that are created at the same time for waiting calls.
const MAX_STARTING: usize = 8;
/// The shortest time between two log lines about instances that cannot be created.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The limits of the instances of one thread.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most instances that are alive.
    pub instances: usize,
    /// The most calls that an instance serves at the same time.
    pub concurrency: usize,
    /// The number of calls that a new instance is expected to take at the same time: 1 if any call may block on a
    /// remote store.
    pub at_once: usize,
    /// The most calls that an instance serves in its life.
    pub max_calls: usize,
    /// How long an instance without work is kept.
    pub idle: Duration,
    /// How long background tasks may run without a call.
    pub background: Duration,
    /// From a call to its response's head. Also the limit of an instance's start.
    pub request: Duration,
    /// For a body that is written within the call, as in `wasi:http@0.2`.
    pub response: Duration,
}

/// What a [`Dispatch`] creates its instances from, and where the instances report.
pub struct DispatchContext {
    /// Runs the component.
    pub engine: wasmtime::Engine,
    /// The component's code.
    pub linked: Arc<Linked>,
    /// The state that each instance starts with.
    pub template: Template,
    /// The limits of the instances.
    pub limits: Limits,
    /// The component's metrics, over all threads.
    pub metrics: Arc<ComponentMetrics>,
    /// The component's metrics on this thread.
    pub worker: Arc<WorkerMetrics>,
    /// The runtime of the thread that serves the component.
    pub runtime: Handle,
}

/// Runs an instance from its creation to its end, in a task of its own.
pub(super) type RunInstance = fn(InstanceLease) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The calls and instances of one component on one thread.
pub struct Dispatch {
    pub(super) context: DispatchContext,
    run_instance: RunInstance,
    /// The turns of calls that compute.
    pub(super) turns: Arc<Turns>,
    state: Mutex<State>,
    /// The queue's length, which can be read without the lock.
    waiting: AtomicUsize,
    draining: AtomicBool,
    /// The thread had nothing to do although calls were waiting: all instances are blocked or full.
    starved: AtomicBool,
    /// Notified when the first call starts waiting, and when the dispatch is dropped.
    work_arrived: Arc<Notify>,
    /// Notified when an instance has been created or has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Call>,
    handles: Vec<InstanceHandle>,
    /// Instances that are alive or are being created.
    live: usize,
    /// The part of `live` that is being created.
    starting: usize,
    next_id: u64,
    /// Calls that instances have taken since the start.
    taken: u64,
    /// Whether the supervisor is checking the queue.
    watched: bool,
    reported: Option<Instant>,
    /// Why the last attempt to create an instance failed.
    failed: Option<CallError>,
}

/// An instance, from the queue's point of view.
struct InstanceHandle {
    id: u64,
    waker: Waker,
    /// Whether the instance would take a call now.
    taking: bool,
    /// Whether the instance waits for a remote store. None of its tasks run meanwhile.
    waits_for_store: Arc<AtomicBool>,
    /// Whether the instance has no call and its guest does not compute, so that it takes a call as soon as it is woken.
    idle: Arc<AtomicBool>,
}

impl InstanceHandle {
    fn is_free(&self) -> bool {
        self.taking && !self.waits_for_store.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }
}

impl State {
    /// Whether the supervisor must be woken, because calls wait and the supervisor does not check the queue.
    fn must_watch(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.watched, true)
    }
}

impl Dispatch {
    /// `run_instance` creates and runs each instance.
    pub(super) fn new(run_instance: RunInstance, context: DispatchContext) -> Arc<Self> {
        let work_arrived = Arc::new(Notify::new());
        let dispatch = Arc::new(Self {
            context,
            run_instance,
            turns: Arc::default(),
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            work_arrived: work_arrived.clone(),
            changed: Notify::new(),
        });
        dispatch.context.runtime.spawn(Self::supervise(Arc::downgrade(&dispatch), work_arrived));
        dispatch
    }

    /// Queues a call. The admission before this queue bounds its length.
    pub fn submit(self: &Arc<Self>, call: Call) {
        let mut state = lock(&self.state);
        state.queue.push_back(call);
        self.waiting.store(state.queue.len(), Ordering::Release);
        // Prefer the oldest instance, so that spare instances become idle and end.
        let free = state.handles.iter().find(|handle| handle.is_free());
        let (waker, idle) = match free {
            Some(handle) => (Some(handle.waker.clone()), handle.is_idle()),
            None => (None, false),
        };
        if waker.is_none() && state.starting.saturating_mul(self.context.limits.at_once) < state.queue.len() {
            self.start_instance(&mut state);
        }
        // An idle instance takes the call when it is polled next, or tells the supervisor (`watch`). Any other instance
        // may be computing. A second call that waits shows that the instance has not been polled.
        let unwatched = (!idle || state.queue.len() > 1) && state.must_watch();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if unwatched {
            self.work_arrived.notify_one();
        }
    }

    /// An instance has left calls in the queue, which the supervisor must check from now on.
    pub(super) fn watch(&self) {
        if self.waiting() != 0 && lock(&self.state).must_watch() {
            self.work_arrived.notify_one();
        }
    }

    /// Creates an instance although no call waits, so that the first call does not wait for the instance.
    pub fn warm_up(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.live == 0 {
            self.start_instance(&mut state);
        }
    }

    fn start_instance(self: &Arc<Self>, state: &mut State) {
        if state.live >= self.context.limits.instances {
            return;
        }
        state.live += 1;
        state.starting += 1;
        state.next_id += 1;
        self.context.runtime.spawn((self.run_instance)(InstanceLease {
            dispatch: self.clone(),
            id: state.next_id,
            registered: false,
            taking: false,
            waits_for_store: Arc::default(),
            idle: Arc::default(),
        }));
    }

    /// An instance has begun to wait for a remote store, so another instance must take the waiting calls.
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

    /// Must be called before the thread sleeps.
    pub fn on_park(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.starved.store(true, Ordering::Relaxed);
            self.watch();
        }
    }

    /// Checks the waiting calls every [`CHECK_EVERY`] for as long as there are any.
    async fn supervise(this: Weak<Self>, work_arrived: Arc<Notify>) {
        loop {
            work_arrived.notified().await;
            let mut taken_before = None;
            loop {
                let Some(dispatch) = this.upgrade() else { return };
                let Some(taken) = dispatch.check_waiting(taken_before, Instant::now()) else { break };
                taken_before = Some(taken);
                drop(dispatch);
                time::sleep(CHECK_EVERY).await;
            }
        }
    }

    /// Answers calls that are past their deadline, and creates an instance when no call is being taken. Returns the
    /// number of calls taken so far, or `None` if no call waits.
    fn check_waiting(self: &Arc<Self>, taken_before: Option<u64>, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        let mut late = Vec::new();
        while let Some(call) = state.queue.pop_front_if(|call| call.deadline <= now) {
            late.push(call);
        }
        // Also in the middle of the queue: the calls of clients that have left hold permits that others wait for.
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
                    let wanted = state.queue.len().div_ceil(self.context.limits.at_once);
                    for _ in state.starting..wanted.min(MAX_STARTING) {
                        self.start_instance(&mut state);
                    }
                }
                Some(state.taken)
            }
        };
        drop(state);
        for call in late {
            // Nobody receives the reply of a call that was abandoned just now.
            let _ = call.reply.send(Err(CallError::NoInstance));
        }
        wakers.into_iter().for_each(Waker::wake);
        taken
    }

    /// No further calls will come. Instances end when they have nothing to do.
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

    /// Creates an instance if there is none, and waits until an instance is there or the creation failed.
    ///
    /// # Errors
    /// Why no instance could be created.
    pub async fn ensure_instance(self: &Arc<Self>) -> Result<(), CallError> {
        self.warm_up();
        self.until(|state| !state.handles.is_empty() || state.live == 0).await;
        lock(&self.state).failed.clone().map_or(Ok(()), Err)
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Enable before the check, so that no change between check and wait is lost.
            changed.as_mut().enable();
            if condition(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }

    /// The number of calls that wait for an instance.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        // Wake the supervisor, so that it ends.
        self.work_arrived.notify_one();
    }
}

/// An instance's side of the queue. The lease must be dropped after the instance's store, because the lease counts
/// the store's pool slot.
pub(super) struct InstanceLease {
    pub(super) dispatch: Arc<Dispatch>,
    id: u64,
    registered: bool,
    taking: bool,
    waits_for_store: Arc<AtomicBool>,
    idle: Arc<AtomicBool>,
}

impl InstanceLease {
    /// The callback for when the instance begins and stops waiting for a remote store.
    pub(super) fn on_wait(&self) -> OnWait {
        let (dispatch, waits_for_store) = (self.dispatch.clone(), self.waits_for_store.clone());
        Arc::new(move |begins| {
            waits_for_store.store(begins, Ordering::Relaxed);
            if begins {
                dispatch.hand_over();
            }
        })
    }

    /// Whether the instance waits for a remote store.
    pub(super) fn waits_for_store(&self) -> Arc<AtomicBool> {
        self.waits_for_store.clone()
    }

    /// The instance has been created, and runs in the task of `waker`.
    pub(super) fn register(&mut self, waker: &Waker) {
        let mut state = lock(&self.dispatch.state);
        state.starting -= 1;
        state.failed = None;
        state.handles.push(InstanceHandle {
            id: self.id,
            waker: waker.clone(),
            taking: false,
            waits_for_store: self.waits_for_store.clone(),
            idle: self.idle.clone(),
        });
        self.registered = true;
        drop(state);
        self.dispatch.changed.notify_waiters();
    }

    /// The instance could not be created. If no other instance is there either, the waiting calls get `error`.
    pub(super) fn give_up(&mut self, error: &CallError) {
        let mut state = lock(&self.dispatch.state);
        state.failed = Some(error.clone());
        let now = Instant::now();
        if state.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            state.reported = Some(now);
            let component = self.dispatch.context.metrics.component();
            tracing::error!(component, %error, "cannot create an instance");
        }
        // A full pool is temporary, and calls have their own deadlines. Any other error is permanent.
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

    /// Tells the queue whether the instance has no call and its guest does not compute.
    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Relaxed);
    }

    /// What [`InstanceLease::set_idle`] sets.
    pub(super) fn idle(&self) -> Arc<AtomicBool> {
        self.idle.clone()
    }

    /// The next call. If there is none, the task is woken when there is one.
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

    /// The instance takes no further calls now.
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
        // A slot is free now. Use it for the calls that waited for a slot.
        let free = state.handles.iter().any(|handle| handle.taking);
        if !state.queue.is_empty() && !free && state.starting == 0 && self.registered {
            self.dispatch.start_instance(&mut state);
        }
        let unwatched = state.must_watch();
        drop(state);
        if unwatched {
            self.dispatch.work_arrived.notify_one();
        }
        self.dispatch.changed.notify_waiters();
    }
}
