//! Requests to receivers that speak HTTP: one after the other on one connection, answers read up to a bound.

use std::io;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::{
    SendError,
    connection::{Address, TRANSFER, dial},
};

/// More of an answer is not read: it says in its beginning what is wrong.
const MOST: usize = 64 << 10;

/// A receiver's HTTP server.
pub(super) struct Http {
    address: Address,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// What it says, for people: its beginning, in one line.
    pub(super) fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(512)]);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{} {line}", self.status).trim_end().to_owned()
    }
}

impl Http {
    pub(super) fn new(address: Address) -> Self {
        Self { address, sender: None }
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let limit = TRANSFER;
        match tokio::time::timeout(limit, self.try_ask(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.sender = None;
                Err(SendError::Timeout { address: self.address.to_string(), what: "to answer", limit })
            }
        }
    }

    async fn try_ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let mut idle = self.sender.take();
        if let Some(sender) = &mut idle
            && sender.ready().await.is_err()
        {
            idle = None;
        }
        let mut sender = match idle {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let answer = sender.send_request(request).await.map_err(|e| self.broken(&e))?;
        let (answer, whole) = self.read(answer).await?;
        if whole {
            self.sender = Some(sender);
        }
        Ok(answer)
    }

    /// The answer, and whether the connection can carry another request.
    async fn read(&self, answer: Response<Incoming>) -> Result<(Answer, bool), SendError> {
        let (head, mut incoming) = answer.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|e| self.broken(&e))?;
            body.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if body.len() > MOST {
                return Ok((Answer { status: head.status, body: body.freeze() }, false));
            }
        }
        Ok((Answer { status: head.status, body: body.freeze() }, true))
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, SendError> {
        let socket = TokioIo::new(dial(&self.address).await?);
        let (sender, connection) =
            http1::Builder::new().max_buf_size(MOST).handshake(socket).await.map_err(|e| self.broken(&e))?;
        // Its errors reach whoever waits for an answer on it.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    fn broken(&self, error: &hyper::Error) -> SendError {
        let source = io::Error::other(error.to_string());
        SendError::Io { address: self.address.to_string(), source }
    }
}
