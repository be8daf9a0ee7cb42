//! A cell whose lock is the GIL.

use std::cell::RefCell;

use super::Python;

/// A value that only attached threads touch. Borrow it for plain steps only: nothing inside [`GilCell::with`] may run
/// Python code or detach, since another thread could then meet the borrow.
#[derive(Default)]
pub struct GilCell<T>(RefCell<T>);

// SAFETY: the token shows that the thread holds the GIL, so borrows and their bookkeeping never run at the same time.
// (A free-threaded Python cannot load this library: the stable ABI that it is built for excludes it.)
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    /// Borrows the value for the length of `work`.
    ///
    /// # Panics
    /// When it is borrowed already.
    pub fn with<R>(&self, _py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.0.borrow_mut())
    }
}
