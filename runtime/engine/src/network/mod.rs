//! Network devices of a container, the bridges between them, and ports published on the host. Source: netdevice(7).

mod bridge;
mod networks;
pub mod publish;
mod way_out;

pub use bridge::{Attached, hardware_address};
pub use networks::{Network, Networks, RANGE};
