//! The component model's canonical ABI, as far as the executor calls it itself, and the C interface by which the bindings of
//! imports find the running task.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use spin_sdk::wasip3::http::types::Response;

/// The result of an operation that is not complete: its waitable will have an event.
pub(super) const BLOCKED: u32 = u32::MAX;

/// What the host tells a task that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// The kind: [`Event::NONE`], [`Event::CANCELLED`], or that of the operation.
    pub(super) kind: u32,
    /// The handle of the stream, the future or the call.
    pub(super) waitable: u32,
    /// The result of the operation.
    pub(super) code: u32,
}

impl Event {
    /// The task yielded, and runs again.
    pub(super) const NONE: u32 = 0;
    /// The caller no longer wants the answer.
    pub(super) const CANCELLED: u32 = 6;
}

/// Called when a waitable has an event, with the argument that it was registered with, and the code of the event.
pub(super) type Callback = unsafe extern "C" fn(*mut c_void, u32);

/// The running task, for the bindings of imports. Its layout and its functions are `wasip3_task` of `wit-bindgen`.
#[repr(C)]
pub(super) struct RunningTask {
    pub(super) version: u32,
    /// The first argument of both functions.
    pub(super) state: *mut c_void,
    /// Registers a waitable with its callback and the callback's argument. Returns the argument that it had before, or null.
    pub(super) register: unsafe extern "C" fn(*mut c_void, u32, Callback, *mut c_void) -> *mut c_void,
    /// Takes the registration away. Returns the callback's argument, or null.
    pub(super) unregister: unsafe extern "C" fn(*mut c_void, u32) -> *mut c_void,
}

impl RunningTask {
    pub(super) const VERSION: u32 = 1;

    /// Runs `work` while the bindings find this task.
    #[expect(unsafe_code, reason = "the bindings keep a pointer to the running task")]
    pub(super) fn enter<R>(&mut self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the pointer is valid until this function returns, and is replaced before that.
        let before = unsafe { wasip3_task_set(self) };
        let result = work();
        // SAFETY: the pointer was in use before, so whoever set it still runs.
        unsafe { wasip3_task_set(before) };
        result
    }
}

/// A set of waitables. One task at a time waits for it. It is not dropped, but used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitableSet(pub(super) u32);

impl WaitableSet {
    pub(super) fn new() -> Self {
        Self(waitable_set_new())
    }

    pub(super) fn add(self, waitable: u32) {
        waitable_join(waitable, self.0);
    }

    /// An event of a member, if there is one already.
    pub(super) fn poll(self) -> Option<Event> {
        let mut payload = [0; 2];
        let kind = waitable_set_poll(self.0, &mut payload);
        let [waitable, code] = payload;
        (kind != Event::NONE).then_some(Event { kind, waitable, code })
    }
}

/// Takes `waitable` out of its set.
pub(super) fn leave_set(waitable: u32) {
    waitable_join(waitable, 0);
}

/// Returns the result of the exported `handle`: a response, or `internal-error` with its text.
#[expect(unsafe_code, reason = "a function of the canonical ABI that reads memory")]
pub(super) fn return_result(result: &Result<Response, String>) {
    /// The number of `internal-error` among the cases of `error-code`.
    const INTERNAL_ERROR: i32 = 38;
    const NOTHING: *mut u8 = std::ptr::null_mut();
    let mut pointer = MaybeUninit::zeroed();
    match result {
        Ok(response) => {
            let handle = response.take_handle().cast_signed();
            // SAFETY: the flat form of `ok(response)`.
            unsafe { task_return(0, handle, 0, pointer, NOTHING, NOTHING, 0, 0) }
        }
        Err(text) => {
            pointer.write(text.as_ptr().addr() as u64);
            let length = std::ptr::without_provenance_mut(text.len());
            // SAFETY: the flat form of `err(internal-error(some(text)))`. The host copies the text before it returns.
            unsafe { task_return(1, INTERNAL_ERROR, 1, pointer, length, NOTHING, 0, 0) }
        }
    }
}

#[link(wasm_import_module = "$root")]
#[expect(unsafe_code, reason = "the names and types are the canonical ABI's; the host checks handles")]
unsafe extern "C" {
    /// The pointer that the running task has in the host; null if it has none.
    #[link_name = "[context-get-0]"]
    pub(super) safe fn context() -> *mut c_void;
    /// Gives the host a pointer for the running task.
    #[link_name = "[context-set-0]"]
    pub(super) safe fn set_context(pointer: *mut c_void);
    #[link_name = "[waitable-set-new]"]
    safe fn waitable_set_new() -> u32;
    #[link_name = "[waitable-set-poll]"]
    safe fn waitable_set_poll(set: u32, payload: &mut [u32; 2]) -> u32;
    #[link_name = "[waitable-join]"]
    safe fn waitable_join(waitable: u32, set: u32);
}

#[link(wasm_import_module = "[export]$root")]
#[expect(unsafe_code, reason = "the name and type are the canonical ABI's")]
unsafe extern "C" {
    /// Says that the running task has stopped, because its caller cancelled it.
    #[link_name = "[task-cancel]"]
    pub(super) safe fn confirm_cancellation();
}

#[link(wasm_import_module = "[export]wasi:http/handler@0.3.0")]
#[expect(unsafe_code, reason = "the name and type are the canonical ABI's")]
unsafe extern "C" {
    #[link_name = "[task-return]handle"]
    fn task_return(
        is_error: i32,
        response_or_code: i32,
        has_text: i32,
        text: MaybeUninit<u64>,
        length: *mut u8,
        unused_pointer: *mut u8,
        unused_length: usize,
        unused_number: i32,
    );
}

#[expect(unsafe_code, reason = "a function of wit-bindgen in C")]
unsafe extern "C" {
    fn wasip3_task_set(task: *mut RunningTask) -> *mut RunningTask;
}
