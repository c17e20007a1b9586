//! Files up and down, from one byte to a gigabyte.

mod depot;
mod downloads;
mod http2;
mod interrupted;
mod limits;
mod memory;
mod plugins;
mod sender;
mod uploads;
