//! The image store, over the drivers that work everywhere.

mod archives;
mod docker;
mod faults;
mod hostile;
mod import;
mod load;
mod names;
mod published;
mod receive;
mod remove;
