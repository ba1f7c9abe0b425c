//! An HTTP/2 server that sends a GOAWAY (RFC 9113, 6.8), leaving requests unprocessed.
//!
//! It writes frames to a socket: h2's server names the last stream that it has *received*, so it
//! can't reliably omit one in flight.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use h2::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, copy_buf, sink},
    net::TcpStream,
};

use crate::peer::{Listening, Log};

/// Types of frames (RFC 9113, 6).
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

/// Flags of frames. One bit is `ACK` in some and `END_STREAM` in others.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// `:status: 200` in one byte: entry 8 of the static table (RFC 7541, 6.1 and appendix A).
const STATUS_200: &[u8] = &[0x88];

/// A client's first bytes (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub(crate) struct GoingAway {
    listening: Listening,
    processed: Log<u32>,
}

/// The GOAWAY on the first connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Going {
    /// The number of requests after which it is sent.
    pub(crate) requests: usize,
    /// The last stream that is or may be processed (a client's are 1, 3, 5, ...; 0 is none).
    pub(crate) last: u32,
    /// The reason.
    pub(crate) reason: Reason,
    /// True if streams up to the last get responses and the client closes the connection. Otherwise
    /// the server closes it.
    pub(crate) responds: bool,
}

impl GoingAway {
    /// On later connections all requests get responses.
    pub(crate) async fn start(going: Going) -> Self {
        let processed = Log::new();
        let (first, log) = (Arc::new(AtomicBool::new(true)), processed.clone());
        let listening = Listening::start(move |stream| {
            let goes = first.swap(false, Relaxed).then_some(going);
            let peer = Peer { stream: BufReader::new(stream), processed: log.clone() };
            // A client may disconnect at any time.
            async move { drop(peer.serve(goes).await) }
        })
        .await;
        Self { listening, processed }
    }

    pub(crate) const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The streams with responses, on all connections.
    pub(crate) fn processed(&self) -> Vec<u32> {
        self.processed.read()
    }
}

struct Peer {
    stream: BufReader<TcpStream>,
    processed: Log<u32>,
}

impl Peer {
    async fn serve(mut self, goes: Option<Going>) -> io::Result<()> {
        let mut preface = [0; PREFACE.len()];
        self.stream.read_exact(&mut preface).await?;
        assert_eq!(preface, PREFACE, "no HTTP/2");
        self.send(SETTINGS, 0, 0, &[]).await?;

        let mut open = Vec::new();
        loop {
            let (kind, flags, stream) = self.receive().await?;
            if kind == SETTINGS && flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[]).await?;
            }
            // The end of a request: of its headers, or of its body, whose frames are of type 0.
            if kind <= HEADERS && flags & END_STREAM != 0 {
                open.push(stream);
                match goes {
                    None => self.answer(stream).await?,
                    Some(Going { requests, last, reason, responds }) if open.len() == requests => {
                        let payload =
                            [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
                        self.send(GOAWAY, 0, 0, &payload).await?;
                        if !responds {
                            self.stream.shutdown().await?;
                            // Closing with unread bytes would reset the connection and lose the
                            // frame.
                            copy_buf(&mut self.stream, &mut sink()).await?;
                            return Ok(());
                        }
                        for &stream in open.iter().filter(|&&stream| stream <= last) {
                            self.answer(stream).await?;
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }

    async fn answer(&mut self, stream: u32) -> io::Result<()> {
        self.processed.note(stream);
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, STATUS_200).await
    }

    /// A frame (RFC 9113, 4.1): its type, its flags and its stream. Its payload is ignored.
    async fn receive(&mut self) -> io::Result<(u8, u8, u32)> {
        let length_and_type = self.stream.read_u32().await?;
        let flags = self.stream.read_u8().await?;
        let stream = self.stream.read_u32().await?;
        let length = usize::try_from(length_and_type >> 8).unwrap();
        self.stream.read_exact(&mut vec![0; length]).await?;
        Ok((length_and_type.to_be_bytes()[3], flags, stream))
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = ((length << 8) | u32::from(kind)).to_be_bytes().to_vec();
        frame.push(flags);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await
    }
}
