//! A browser for one test: headless Chromium, driven by chromedriver (W3C WebDriver: JSON over HTTP). Both end with the test, also when it
//! fails or is killed. The browser reaches loopback only, and keeps everything in a directory of its own.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::client::Client;

/// The member of an object that stands for an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long a page may take to be as expected.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the checks in pages are made of.
const CHECKS: &str = include_str!("checks.js");

/// Keys as WebDriver calls them.
pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";
pub(super) const SPACE: &str = " ";

/// A window, and the program that drives it.
pub(super) struct Browser {
    client: Client,
    session: String,
    /// What addresses begin with.
    base: String,
    driver: Child,
    /// Kept open, for who writes into a closed pipe is ended.
    _said: BufReader<ChildStdout>,
    home: tempfile::TempDir,
}

impl Browser {
    /// Opens a window on the registry at this address.
    pub(super) fn open(address: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("skiff-browser-").tempdir()?;
        // When this thread is gone the driver goes, and with its pipe the browser.
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
            .envs([("HOME", home.path()), ("TMPDIR", home.path())])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("setpriv")?;
        let mut said = BufReader::new(driver.stdout.take().context("piped")?);
        let port = said.by_ref().lines().map_while(Result::ok).find_map(|line| {
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let mut browser = Self {
            client: Client::new(&format!("127.0.0.1:{}", port.as_deref().unwrap_or_default())),
            session: String::new(),
            base: format!("http://{address}"),
            driver,
            _said: said,
            home,
        };
        ensure!(port.is_some(), "chromedriver does not start: install Debian's chromium and chromium-driver");
        let profile = format!("--user-data-dir={}", browser.home.path().join("profile").display());
        let options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu",
            "--hide-scrollbars", "--disable-breakpad", "--disable-dev-shm-usage", "--remote-debugging-pipe",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", profile,
        ] });
        // A page that does not come is an error soon, not after five minutes.
        let timeouts = json!({ "pageLoad": PATIENCE.as_millis(), "script": PATIENCE.as_millis() });
        let wanted = json!({ "alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" }, "timeouts": timeouts,
        } });
        let made = browser.call("POST", "", json!({ "capabilities": wanted }))?;
        browser.session = format!("/{}", made["sessionId"].as_str().context("no session")?);
        Ok(browser)
    }

    /// One command.
    fn call(&mut self, method: &str, path: &str, body: Value) -> Result<Value> {
        let path = format!("/session{}{path}", self.session);
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let kind = [("Content-Type", "application/json")];
        let answer = self.client.request(method, &path, &kind, body.as_bytes())?;
        let mut value = answer.json()?;
        ensure!(answer.status == 200, "{method} {path}: {}", value["value"]["message"]);
        Ok(value["value"].take())
    }

    /// Goes to a page of the registry.
    pub(super) fn go(&mut self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.base);
        self.call("POST", "/url", json!({ "url": url }))?;
        Ok(())
    }

    /// The path and query that the window is at.
    pub(super) fn at(&mut self) -> Result<String> {
        let url = self.call("GET", "/url", Value::Null)?;
        let url = url.as_str().unwrap_or_default();
        Ok(url.strip_prefix(&self.base).unwrap_or(url).to_owned())
    }

    /// What a function of `checks.js`, or any expression, gives in the page.
    pub(super) fn ask(&mut self, expression: &str) -> Result<Value> {
        let script = format!("{CHECKS}\nreturn {expression};");
        let asked = self.call("POST", "/execute/sync", json!({ "script": script, "args": [] }));
        asked.with_context(|| expression.to_owned())
    }

    /// The text that is shown.
    pub(super) fn text(&mut self) -> Result<String> {
        Ok(self.ask("document.body.innerText")?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows this.
    pub(super) fn sees(&mut self, wanted: &str) -> Result<()> {
        self.until(wanted, |browser| Ok(browser.text()?.contains(wanted)))
    }

    /// Waits until the window is there.
    pub(super) fn arrives(&mut self, path: &str) -> Result<()> {
        self.until(path, |browser| {
            Ok(browser.at()? == path && browser.ask("document.readyState")? == "complete")
        })
    }

    /// Waits until it is true. While one page goes and the next comes, a question may fail.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut good: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = good(self);
            if matches!(asked, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("never: {what} ({asked:?}); at {} there is:\n{}", self.at()?, self.text()?);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn find(&mut self, css: &str) -> Result<String> {
        let found = self.call("POST", "/element", json!({ "using": "css selector", "value": css }))?;
        Ok(format!("/element/{}", found[ELEMENT].as_str().context("no element")?))
    }

    pub(super) fn click(&mut self, css: &str) -> Result<()> {
        let element = self.find(css)?;
        self.call("POST", &format!("{element}/click"), json!({}))?;
        Ok(())
    }

    /// Writes into a field, in place of what is there.
    pub(super) fn fill(&mut self, css: &str, text: &str) -> Result<()> {
        let element = self.find(css)?;
        self.call("POST", &format!("{element}/clear"), json!({}))?;
        self.call("POST", &format!("{element}/value"), json!({ "text": text }))?;
        Ok(())
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(super) fn press(&mut self, keys: &str) -> Result<()> {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("POST", "/actions", json!({ "actions": [keyboard] }))?;
        Ok(())
    }

    /// A command of the browser's own protocol.
    pub(super) fn cdp(&mut self, command: &str, params: Value) -> Result<Value> {
        self.call("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": params }))
    }

    /// As for somebody who has set this: `light` or `dark`.
    pub(super) fn scheme(&mut self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        Ok(())
    }

    /// A window of so many CSS pixels.
    pub(super) fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size)?;
        Ok(())
    }

    /// Keeps a picture of the whole page where `SKIFF_TEST_SCREENSHOTS` says, if it does: for people to look at.
    pub(super) fn picture(&mut self, name: &str) -> Result<()> {
        let Some(dir) = std::env::var_os("SKIFF_TEST_SCREENSHOTS") else { return Ok(()) };
        let taken = self.cdp("Page.captureScreenshot", json!({ "captureBeyondViewport": true }))?;
        let png = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            taken["data"].as_str().context("no picture")?,
        )?;
        fs_err::create_dir_all(&dir)?;
        fs_err::write(std::path::Path::new(&dir).join(format!("{name}.png")), png)?;
        Ok(())
    }

    /// What the browser has complained of since the last time: errors of scripts, refused content, answers that are no success.
    pub(super) fn complaints(&mut self) -> Result<Vec<String>> {
        let log = self.call("POST", "/se/log", json!({ "type": "browser" }))?;
        let entries = log.as_array().into_iter().flatten();
        Ok(entries.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that is asked to end takes its time, and writes meanwhile. The group is the driver's own.
        let group = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.driver.wait();
        // Who is told to end is not gone at once.
        let end = Instant::now() + PATIENCE;
        while self.home.path().exists() && Instant::now() < end {
            let _ = fs_err::remove_dir_all(self.home.path());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
