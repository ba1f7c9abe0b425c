//! A demand, written in a random dialect among distractions, is obeyed: never early, never longer.

#[path = "../support/hold.rs"]
mod hold;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
