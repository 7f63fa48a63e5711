//! The program that runs inside containers, and how it is asked.
//!
//! Each verb does or sees one thing and answers with one line of JSON. The program is called as `/probe VERB [ARGUMENT...]`, or
//! as `/probe serve` and then answers requests on its standard input until that ends. Both sides share one definition of each
//! verb: a function that makes the request, and the type of its answer.
//!
//! ```
//! use probe::Ask;
//! use probe::verbs::files;
//!
//! assert_eq!(files::write("/etc/motd", "hello").words(), ["write", "/etc/motd", "hello"]);
//! ```

mod ask;
mod bare;
mod calls;
pub mod channel;
mod clock;
mod failure;
pub mod measure;
mod mountinfo;
mod name;
mod octal;
mod request;
mod seen;
mod server;
mod shell;
pub mod verbs;

pub use ask::{Act, Argument, Ask, Reply};
pub use failure::{Done, Failure};
pub use name::{NAME, SHELL};
pub use server::{main, serve};

/// Does a request in the calling thread: for what a check must have in its own credentials.
///
/// # Errors
/// As the verb says.
pub fn perform<A: Act>(request: A) -> Done<A::Answer> {
    request.act()
}
