//! CPython's C API behind safe types: the only place of the host that names it.
//!
//! # Invariants
//! - A [`Python`] token exists only in a thread that is attached: it holds the GIL and has a current thread state.
//! - An [`Object`] cannot outlive its token nor reach another thread; what is kept longer is a [`Kept`].
//! - Objects of one interpreter are not shown to another. The types cannot say so; the host keeps one record per
//!   interpreter and reaches it only while attached to that interpreter.
//! - Each function that Python calls is one of the trampolines of `class`, each behind the panic fence.

mod attached;
mod cell;
mod class;
mod error;
mod extension;
mod fork;
mod interpreter;
mod interrupt;
mod isolated;
mod nudge;
mod object;
mod room;
mod thread;
mod turn;
mod value;

pub use attached::{Python, forget_waits, waits};
pub use cell::GilCell;
pub use class::{Class, Members, Type};
pub use error::{Error, Kind, Result};
pub use extension::extension;
pub use fork::{Fork, is_forked, watch_forks};
pub use interpreter::{Interpreter, trim};
pub use interrupt::{raise_in_thread, thread_ident};
pub use nudge::{Nudging, end_nudging, nudge, spawn};
pub use object::{Kept, Object};
pub use room::{Filling, Room};
pub use thread::{Visit, abandon, active_visits, close_doors, own_states, thread_number};
