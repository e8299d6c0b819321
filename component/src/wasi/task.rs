//! The executor of this instance: runs one component-model task for each request.
//!
//! - A task first polls the future of its answer. When that future is ready, the task hands the response over.
//! - Then the task writes the body, and runs the work that the request left to be done. It ends when nothing is left.
//! - A task that waits returns the waitable set that it waits for to the host. The host calls back with an event.
//! - The bindings of imports find the running task by `wasip3_task_set`, and register with it what they wait for.
//!
//! `wit_bindgen::rt` has an executor, too, which takes more instructions than a whole request takes here
//! (docs/performance.md). As there, a Rust waker does not reach another task: see [`Notify`](crate::ports::Notify).

use std::cell::RefCell;
use std::ffi::c_void;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use spin_sdk::wasip3::http::types::Fields;

use super::canonical::{self, Callback, Event, RunningTask, WaitableSet};
use super::transfer::Transfer;
use crate::response::Body;

/// Work that runs behind the answer.
pub(super) type Work = Pin<Box<dyn Future<Output = ()>>>;

/// An answer to a request.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The headers, or why the host refuses them.
    pub(super) fields: Result<Fields, String>,
    pub(super) body: Body,
    /// The work to do when it is sent.
    pub(super) after: Option<Work>,
}

/// The task of one request.
struct Task {
    steps: Steps,
    /// Apart from the steps, because the bindings of imports reach it while a step runs.
    waitables: RefCell<Waitables>,
}

/// What a task has to do.
struct Steps {
    /// Until it is ready.
    answer: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    /// Until body and trailers are written.
    transfer: Option<Transfer>,
    /// What to start when body and trailers are written.
    after: Option<Work>,
    work: Vec<Work>,
}

/// What a task waits for.
#[derive(Default)]
struct Waitables {
    set: Option<WaitableSet>,
    /// What the bindings of imports have registered.
    registered: Vec<Registered>,
}

struct Registered {
    waitable: u32,
    callback: Callback,
    argument: *mut c_void,
}

/// What the host does with a task that returns to it.
enum Next {
    /// The task has ended.
    Exit,
    /// The task runs again after others.
    Yield,
    /// The task runs again when a member of this set has an event.
    Wait(WaitableSet),
}

impl Next {
    fn code(&self) -> u32 {
        match self {
            Self::Exit => 0,
            Self::Yield => 1,
            Self::Wait(set) => 2 | set.0 << 4,
        }
    }
}

/// What all tasks of the instance share. One of them runs at a time.
struct Executor {
    woken: Arc<Woken>,
    waker: Waker,
    /// Work that the running task has started and not polled yet.
    spawned: RefCell<Vec<Work>>,
    /// Empty sets: at most as many as there have been tasks at once, which the host limits.
    spare_sets: RefCell<Vec<WaitableSet>>,
}

/// Whether a future of the running task wants to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static EXECUTOR: Executor = {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        Executor { woken, waker, spawned: RefCell::default(), spare_sets: RefCell::default() }
    };
}

/// Leaves `work` to the running task. The task does not end before the work has.
pub(super) fn spawn(work: Work) {
    EXECUTOR.with(|executor| executor.spawned.borrow_mut().push(work));
}

/// Starts a task. Returns what the host does with it.
pub(super) fn start(answer: impl Future<Output = Answer> + 'static) -> u32 {
    let steps = Steps { answer: Some(Box::pin(answer)), transfer: None, after: None, work: Vec::new() };
    let mut task = Task { steps, waitables: RefCell::default() };
    EXECUTOR.with(|executor| {
        let next = task.run(executor);
        match next {
            Next::Exit => task.end(executor),
            Next::Yield | Next::Wait(_) => canonical::set_context(Box::into_raw(Box::new(task)).cast()),
        }
        next.code()
    })
}

/// Runs the task that the host calls back. Returns what the host does with it next.
///
/// # Safety
/// The running task was started by [`start`].
#[expect(unsafe_code, reason = "the host keeps the pointer to the task")]
pub(super) unsafe fn resume(event: Event) -> u32 {
    let pointer = canonical::context().cast::<Task>();
    // SAFETY: `start` made the pointer of a box, and only the end of the task frees it.
    let task = unsafe { &mut *pointer };
    EXECUTOR.with(|executor| {
        let next = if event.kind == Event::CANCELLED && task.steps.answer.is_some() {
            task.running(|steps, _| steps.answer = None);
            canonical::confirm_cancellation();
            Next::Exit
        } else {
            task.resume(executor, event)
        };
        if let Next::Exit = next {
            // SAFETY: the host does not call a task back that has ended.
            unsafe { Box::from_raw(pointer) }.end(executor);
        }
        next.code()
    })
}

impl Task {
    /// Takes an event, and runs the task until it has to wait.
    fn resume(&mut self, executor: &Executor, event: Event) -> Next {
        let mut event = Some(event);
        loop {
            if let Some(event) = event.take() {
                self.deliver(event);
            }
            match self.run(executor) {
                // Often the next event is there already: body and trailers are written at the same time.
                Next::Wait(set) => match set.poll() {
                    None => return Next::Wait(set),
                    next => event = next,
                },
                next => return next,
            }
        }
    }

    fn deliver(&mut self, event: Event) {
        let transfer = &mut self.steps.transfer;
        if event.kind == Event::NONE
            || transfer.as_mut().is_some_and(|transfer| transfer.deliver(event.waitable, event.code))
        {
            transfer.take_if(|transfer| transfer.is_complete());
            return;
        }
        let registered = self.waitables.borrow_mut().take(event.waitable);
        if let Some(Registered { callback, argument, .. }) = registered {
            canonical::leave_set(event.waitable);
            // SAFETY: whoever registers keeps the argument valid until the callback is called or taken away.
            #[expect(unsafe_code, reason = "the C interface of the bindings")]
            self.running(|_, _| unsafe { callback(argument, event.code) });
        }
    }

    /// Takes all steps that can be taken now.
    fn run(&mut self, executor: &Executor) -> Next {
        loop {
            executor.woken.0.store(false, Ordering::Relaxed);
            self.running(|steps, waitables| steps.take(executor, waitables));
            let mut spawned = executor.spawned.borrow_mut();
            if spawned.is_empty() {
                break;
            }
            self.steps.work.append(&mut spawned);
        }
        let steps = &mut self.steps;
        steps.transfer.take_if(|transfer| transfer.is_complete());
        let is_sent = steps.answer.is_none() && steps.transfer.is_none();
        // Where the body is written at once, the host must get the response before the work behind it may block the instance.
        if is_sent && steps.after.is_some() || executor.woken.0.load(Ordering::Relaxed) {
            return Next::Yield;
        }
        let mut waitables = self.waitables.borrow_mut();
        if is_sent && steps.work.is_empty() && waitables.registered.is_empty() {
            return Next::Exit;
        }
        Next::Wait(waitables.set(executor))
    }

    /// Runs `work` while the bindings of imports find this task.
    fn running<R>(&mut self, work: impl FnOnce(&mut Steps, &RefCell<Waitables>) -> R) -> R {
        let Self { steps, waitables } = self;
        let state = (&raw const *waitables).cast_mut().cast();
        let mut running = RunningTask { version: RunningTask::VERSION, state, register, unregister };
        running.enter(|| work(steps, waitables))
    }

    /// Ends the task. Its waitable set is empty now, and another task may use it.
    fn end(mut self, executor: &Executor) {
        if !self.steps.work.is_empty() {
            self.running(|steps, _| steps.work.clear());
        }
        let Waitables { set, registered } = self.waitables.into_inner();
        if let Some(set) = set
            && registered.is_empty()
        {
            executor.spare_sets.borrow_mut().push(set);
        }
    }
}

impl Steps {
    /// Polls everything, and hands the answer over when it is ready.
    fn take(&mut self, executor: &Executor, waitables: &RefCell<Waitables>) {
        let mut context = Context::from_waker(&executor.waker);
        if self.answer.is_none() && self.transfer.is_none() {
            self.work.extend(self.after.take());
        }
        if let Some(answer) = &mut self.answer
            && let Poll::Ready(answer) = answer.as_mut().poll(&mut context)
        {
            self.answer = None;
            self.send(answer, executor, waitables);
        }
        self.work.retain_mut(|work| work.as_mut().poll(&mut context).is_pending());
    }

    /// Hands the answer over, and starts to write its body.
    fn send(&mut self, answer: Answer, executor: &Executor, waitables: &RefCell<Waitables>) {
        let Answer { status, fields, body, after } = answer;
        let started = fields.and_then(|fields| Transfer::start(status, fields, body));
        let result = started.map(|(response, transfer)| {
            let mut waitables = waitables.borrow_mut();
            transfer.waitables().for_each(|waitable| waitables.add(executor, waitable));
            self.transfer = Some(transfer);
            response
        });
        canonical::return_result(&result);
        self.after = after;
    }
}

impl Waitables {
    fn set(&mut self, executor: &Executor) -> WaitableSet {
        *self
            .set
            .get_or_insert_with(|| executor.spare_sets.borrow_mut().pop().unwrap_or_else(WaitableSet::new))
    }

    fn add(&mut self, executor: &Executor, waitable: u32) {
        self.set(executor).add(waitable);
    }

    fn take(&mut self, waitable: u32) -> Option<Registered> {
        let index = self.registered.iter().position(|registered| registered.waitable == waitable)?;
        Some(self.registered.swap_remove(index))
    }
}

/// [`RunningTask::register`] of a task whose state is its waitables.
#[expect(unsafe_code, reason = "the C interface of the bindings")]
unsafe extern "C" fn register(
    state: *mut c_void,
    waitable: u32,
    callback: Callback,
    argument: *mut c_void,
) -> *mut c_void {
    // SAFETY: `Task::running` made the pointer of a reference that is valid until it returns.
    let mut waitables = unsafe { &*state.cast::<RefCell<Waitables>>() }.borrow_mut();
    let before = waitables.take(waitable).map_or(ptr::null_mut(), |registered| registered.argument);
    EXECUTOR.with(|executor| waitables.add(executor, waitable));
    waitables.registered.push(Registered { waitable, callback, argument });
    before
}

/// [`RunningTask::unregister`] of a task whose state is its waitables.
#[expect(unsafe_code, reason = "the C interface of the bindings")]
unsafe extern "C" fn unregister(state: *mut c_void, waitable: u32) -> *mut c_void {
    // SAFETY: as in `register`.
    let mut waitables = unsafe { &*state.cast::<RefCell<Waitables>>() }.borrow_mut();
    canonical::leave_set(waitable);
    waitables.take(waitable).map_or(ptr::null_mut(), |registered| registered.argument)
}
