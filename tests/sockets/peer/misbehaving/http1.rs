//! An HTTP/1.1 server that misbehaves, writing bytes to a socket.

use std::io;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf, sink},
    net::TcpStream,
};

use super::{Peer, Received};

/// The reaction to a request, after receiving it to its end unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// 200 with a body of five bytes, and the connection stays.
    Answer,
    /// The same, then closes the connection, which the response does not announce.
    AnswerAndClose,
    /// 503 with this header line, byte for byte, and the connection stays.
    Unavailable(&'static [u8]),
    /// 503 as soon as the head of the request has arrived, then closes the connection without a
    /// reset.
    UnavailableBeforeBody,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Responds with an invalid status line.
    GarbageStatus,
    /// Responds with half of a head only.
    HalfHead,
    /// Keeps the connection open without a response.
    Silence,
    /// 200 with two bytes of a body of five, then a reset once the test
    /// [goes on](super::Misbehaving::go_on).
    ResetInBody,
}

/// Lines that a client must not read as a hint.
pub(crate) const GARBAGE_HINTS: [&[u8]; 11] = [
    b"Retry-After: -1",
    b"Retry-After: 99999999999999999999",
    b"Retry-After: soon",
    b"Retry-After: 1.5",
    b"Retry-After:",
    b"Retry-After: Thu, 01 Jan 1970 00:00:00 GMT",
    b"Retry-After: \xff\xfe\x80",
    b"RateLimit: r=;t=",
    b"RateLimit: \"quota\";r=0;t=-5",
    b"RateLimit: \xc3\x28",
    b"X-RateLimit-Reset: NaN",
];

pub(crate) type Misbehaving = super::Misbehaving<Act>;

impl super::Act for Act {
    const ANSWER: Self = Self::Answer;

    async fn serve(peer: Peer<Self>, stream: TcpStream) {
        // A client may disconnect at any time.
        drop(peer.converse(BufReader::new(stream)).await);
    }
}

impl Peer<Act> {
    async fn converse(self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        while let Some(mut request) = read_head(&mut stream).await? {
            let act = self.script.next();
            if act != Act::UnavailableBeforeBody {
                request.body = read_body(&mut stream, &request.headers).await?;
                self.received.note(request);
            }
            match act {
                Act::Answer => answer(&mut stream).await?,
                Act::AnswerAndClose => return answer(&mut stream).await,
                Act::Unavailable(line) => {
                    stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n").await?;
                    stream.write_all(line).await?;
                    stream.write_all(b"\r\n\r\n").await?;
                }
                Act::UnavailableBeforeBody => {
                    let close =
                        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    stream.write_all(close).await?;
                    stream.shutdown().await?;
                    // Closing with unread bytes would reset the connection and lose the response.
                    copy_buf(&mut stream, &mut sink()).await?;
                    return Ok(());
                }
                Act::Close => return Ok(()),
                Act::Reset => return stream.get_ref().set_zero_linger(),
                Act::GarbageStatus => {
                    return stream.write_all(b"HTTP/1.1 2OO FINE\r\n\r\n").await;
                }
                Act::HalfHead => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await?;
                    copy_buf(&mut stream, &mut sink()).await?;
                }
                Act::Silence => drop(copy_buf(&mut stream, &mut sink()).await?),
                Act::ResetInBody => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await?;
                    self.go_on.notified().await;
                    return stream.get_ref().set_zero_linger();
                }
            }
        }
        Ok(())
    }
}

async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await
}

/// Reads the head of the next request. `None` if there is no other.
async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Ok(None);
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&head).map_err(io::Error::other)?;
    let headers = request.headers.iter().map(|field| {
        let name = HeaderName::try_from(field.name).unwrap();
        (name, HeaderValue::try_from(field.value).unwrap())
    });
    Ok(Some(Received {
        method: Method::try_from(request.method.unwrap()).unwrap(),
        path: request.path.unwrap().to_owned(),
        headers: headers.collect(),
        body: 0,
    }))
}

/// Reads a body to its end (RFC 9112, 6 and 7.1), and returns its length.
async fn read_body(stream: &mut BufReader<TcpStream>, headers: &HeaderMap) -> io::Result<usize> {
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        stream.read_exact(&mut vec![0; length]).await?;
        return Ok(length);
    }
    let mut total = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        stream.read_exact(&mut vec![0; length + "\r\n".len()]).await?;
        if length == 0 {
            return Ok(total);
        }
        total += length;
    }
}
