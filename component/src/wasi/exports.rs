//! The two functions behind the exported `handle` (the canonical ABI of an async function with a callback), at the path where
//! the macro of `wasip3` expects them: it exports them and describes their types. `wit-bindgen` generates others, which run on
//! its own executor.

pub(super) mod wasi {
    pub(in super::super) mod http {
        pub(in super::super::super) mod handler {
            pub(in super::super::super::super) use spin_sdk::wasip3::__export_wasi_http_handler_0_3_0_cabi;
            use spin_sdk::wasip3::http::types::Request;
            use spin_sdk::wit_bindgen;

            use crate::wasi::canonical::Event;
            use crate::wasi::instance::answer;
            use crate::wasi::task;

            /// Starts a task for `request`.
            ///
            /// # Safety
            /// The host calls it with the handle of a request that it gives to the task.
            #[expect(unsafe_code, clippy::extra_unused_type_parameters, reason = "the macro calls it so")]
            pub(in super::super::super::super) unsafe fn _export_handle_cabi<T>(request: i32) -> i32 {
                wit_bindgen::rt::run_ctors_once();
                // SAFETY: the handle is the caller's argument.
                let request = unsafe { Request::from_handle(request.cast_unsigned()) };
                task::start(answer(request)).cast_signed()
            }

            /// Calls a task back.
            ///
            /// # Safety
            /// The host calls it in a task that [`_export_handle_cabi`] started.
            #[expect(unsafe_code, reason = "the macro calls it so")]
            pub(in super::super::super::super) unsafe fn __callback_handle(
                kind: u32,
                waitable: u32,
                code: u32,
            ) -> u32 {
                // SAFETY: the caller's.
                unsafe { task::resume(Event { kind, waitable, code }) }
            }
        }
    }
}
