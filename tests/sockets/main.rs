//! The layers in servers and clients that people use, on real sockets. `tests/README.md` lists which test holds
//! us to which promise.
