//! Processes of the parent's beside httpd's own children (`apr_thread_proc.h`, "other children").

use std::ffi::{c_int, c_void};
use std::ptr;

use super::fence::fence;
use super::ffi;
use super::pool::Pool;
use super::process::tell;

/// What to do when the process has ended.
struct Watch<'p> {
    process: ffi::apr_proc_t,
    on_death: Option<Box<dyn FnOnce() + 'p>>,
}

/// Calls `on_death` when the process `pid`, a child of the parent's, has ended; not once `pool` is cleared.
pub fn watch<'p>(pool: Pool<'p>, pid: i32, on_death: impl FnOnce() + 'p) {
    let watch = pool.own(Watch {
        process: ffi::apr_proc_t {
            pid,
            in_: ptr::null_mut(),
            out: ptr::null_mut(),
            err: ptr::null_mut(),
        },
        on_death: Some(Box::new(on_death)),
    });
    // SAFETY: the pool owns process and data; it takes the registration back before it frees them, since it runs its
    // cleanups in reverse order.
    unsafe {
        let process = &raw mut watch.process;
        let data = ptr::from_mut(watch).cast();
        ffi::apr_proc_other_child_register(process, Some(maintain), data, ptr::null_mut(), pool.as_ptr());
    }
}

/// # Safety
/// httpd's parent calls it, between all else it does, with a `Watch` that [`watch`] registered.
unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, _status: c_int) {
    if reason == ffi::APR_OC_REASON_DEATH || reason == ffi::APR_OC_REASON_LOST {
        fence(
            (),
            |text| tell(&format!("WSGI0104: {text}\n")),
            || {
                // SAFETY: the caller's promise; nothing else uses the value meanwhile.
                let on_death = unsafe { (*data.cast::<Watch<'_>>()).on_death.take() };
                // SAFETY: the registration is under this address.
                unsafe { ffi::apr_proc_other_child_unregister(data) };
                if let Some(on_death) = on_death {
                    on_death();
                }
            },
        );
    }
}
