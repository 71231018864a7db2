//! Result folders: what is written is read back, damage is named, and a failure leaves nothing.

mod damage;
mod folder;
mod random;
mod reader_script;
mod round_trip;
mod version_1;
