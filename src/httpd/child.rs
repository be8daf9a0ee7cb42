//! Processes of the parent's beside httpd's own children (`apr_thread_proc.h`, "other children").

use std::ffi::{c_int, c_void};
use std::ptr;

use super::fence::fence;
use super::ffi;
use super::pool::Pool;
use super::process;

/// What the parent has to say about the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has ended.
    Died,
    /// httpd stops, and waits for its children from now on. Said more than once.
    Stopping,
}

/// What to do about the process.
struct Watch<'p> {
    process: ffi::apr_proc_t,
    /// httpd's count of restarts when the watch began.
    generation: c_int,
    tell: Box<dyn Fn(News) + 'p>,
}

/// Calls `tell` with what becomes of the process `pid`, a child of the parent's; not once `pool` is cleared.
pub fn watch<'p>(pool: Pool<'p>, pid: i32, tell: impl Fn(News) + 'p) {
    let watch = pool.own(Watch {
        process: ffi::apr_proc_t {
            pid,
            in_: ptr::null_mut(),
            out: ptr::null_mut(),
            err: ptr::null_mut(),
        },
        generation: generation(),
        tell: Box::new(tell),
    });
    // SAFETY: the pool owns process and data; it takes the registration back before it frees them, since it runs its
    // cleanups in reverse order.
    unsafe {
        let process = &raw mut watch.process;
        let data = ptr::from_mut(watch).cast();
        ffi::apr_proc_other_child_register(process, Some(maintain), data, ptr::null_mut(), pool.as_ptr());
    }
}

/// httpd's count of restarts.
fn generation() -> c_int {
    let mut generation = 0;
    // SAFETY: writes one int.
    unsafe { ffi::ap_mpm_query(ffi::AP_MPMQ_GENERATION, &raw mut generation) };
    generation
}

/// # Safety
/// httpd's parent calls it, between all else it does, with a `Watch` that [`watch`] registered.
unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, _status: c_int) {
    fence(
        (),
        |text| process::tell(&format!("WSGI0104: {text}\n")),
        || {
            // SAFETY: the caller's promise.
            let watch = unsafe { &*data.cast::<Watch<'_>>() };
            match reason {
                ffi::APR_OC_REASON_DEATH | ffi::APR_OC_REASON_LOST => {
                    // SAFETY: the registration is under this address; the value itself stays in its pool.
                    unsafe { ffi::apr_proc_other_child_unregister(data) };
                    (watch.tell)(News::Died);
                }
                // httpd waits for its children. It has counted already when it is going to restart.
                ffi::APR_OC_REASON_RESTART if generation() == watch.generation => (watch.tell)(News::Stopping),
                _ => {}
            }
        },
    );
}
