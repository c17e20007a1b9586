//! Files up and down, from one byte to a gigabyte.

mod depot;
mod downloads;
mod interrupted;
mod limits;
mod memory;
mod sender;
mod uploads;
