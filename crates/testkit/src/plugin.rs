//! A plugin that a test writes: a socket where the engine's requests are answered and remembered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where every engine looks for plugins.
pub const DIRECTORY: &str = "/run/docker/plugins";

type Asked = Arc<Mutex<Vec<(String, Value)>>>;
type Answerer = dyn Fn(&str, &Value) -> (u16, String) + Send + Sync;

/// A plugin that listens until it is dropped.
pub struct Plugin {
    socket: PathBuf,
    asked: Asked,
}

impl Plugin {
    /// Listens; `answer` makes status and body of the answer out of method (`VolumeDriver.Create`) and body of the request.
    pub fn start(
        socket: &Path,
        answer: impl Fn(&str, &Value) -> (u16, String) + Send + Sync + 'static,
    ) -> Result<Self> {
        // One that was there before is gone.
        let _ = fs_err::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let asked = Asked::default();
        let (log, answer) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (log.clone(), answer.clone());
                // A client that hangs up is its own business.
                thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Ok(Self { socket: socket.to_owned(), asked })
    }

    /// The same where every engine looks.
    pub fn install(
        name: &str,
        answer: impl Fn(&str, &Value) -> (u16, String) + Send + Sync + 'static,
    ) -> Result<Self> {
        fs_err::create_dir_all(DIRECTORY)?;
        Self::start(&Path::new(DIRECTORY).join(format!("{name}.sock")), answer)
    }

    /// What it was asked, in order: methods and bodies.
    pub fn all(&self) -> Vec<(String, Value)> {
        self.asked.lock().expect("no panic").clone()
    }

    /// The methods it was asked.
    pub fn methods(&self) -> Vec<String> {
        self.all().into_iter().map(|(method, _)| method).collect()
    }

    /// The bodies of what it was asked by this method.
    pub fn asked(&self, method: &str) -> Vec<Value> {
        self.all().into_iter().filter(|(m, _)| m == method).map(|(_, body)| body).collect()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.socket);
    }
}

fn serve(stream: UnixStream, log: &Asked, answer: &Answerer) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let method = line.split(' ').nth(1).context("no path")?.trim_start_matches('/').to_owned();
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let lower = line.trim().to_ascii_lowercase();
            match lower.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", _)) => chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        while chunked {
            line.clear();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16)?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk)?;
            body.extend(&chunk[..size]);
            chunked = size > 0;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        log.lock().expect("no panic").push((method.clone(), body.clone()));
        let (status, text) = answer(&method, &body);
        write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    }
}
