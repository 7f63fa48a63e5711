//! The kernel matrix: the catalogue, run on other kernels and cgroup layouts in virtual machines.
//!
//! A row is a kernel with a cgroup layout. Its [`packages`] are fetched, an [`initramfs`] is made of this very program
//! and the modules that checks need, and a [`machine`] boots it. In there the program is the [`guest`]'s first process,
//! runs the catalogue, and sends every verdict and at last the record over a serial line of its own.
//!
//! ```
//! let list = matrix::list::List::read(None)?;
//! let rows = list.select(&["6.12-v2".to_owned()], false)?;
//! assert_eq!((rows[0].series.as_str(), rows[0].layout.word()), ("6.12", "v2"));
//! # Ok::<(), matrix::Error>(())
//! ```

pub mod archive;
pub mod bisect;
mod error;
pub mod events;
pub mod guest;
pub mod image;
pub mod initramfs;
pub mod list;
pub mod machine;
pub mod packages;
pub mod probed;
pub mod row;

pub use error::Error;
