//! A real browser, Chromium, in the namespace of a node: what a person sees there. Driven over WebDriver, which is plain HTTP, by curl.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::place::run_in;

/// Alone in its namespace, so no other driver has the port.
const DRIVER: &str = "http://127.0.0.1:9515";

/// A browser that lives as long as its value.
pub(crate) struct Browser {
    namespace: String,
    driver: Child,
    session: String,
}

impl Browser {
    /// On this node of the cluster, with a profile of its own.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a test's patience is real time")]
    pub(crate) fn start(cluster: &Cluster, node: &str) -> Browser {
        let (namespace, home) = (cluster.namespace(node), cluster.path("browser"));
        fs::create_dir_all(&home).expect("its directory is there");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace, "chromedriver", "--port=9515"]).env("HOME", &home);
        let driver = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ip runs");
        let mut browser = Browser { namespace, driver, session: String::new() };
        let end = Instant::now() + Duration::from_secs(30);
        while browser.try_call("GET", "/status", &json!({})).is_err() {
            assert!(Instant::now() < end, "chromedriver does not answer: apt install chromium chromium-driver");
            thread::sleep(Duration::from_millis(100));
        }
        let profile = format!("--user-data-dir={}", home.join("profile").display());
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            profile
        ]);
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        let wanted = json!({"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": logs});
        let session = browser.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}}));
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        browser
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{DRIVER}{path}");
        let body = body.to_string();
        let mut command = vec!["curl", "-sS", "--noproxy", "*", "--max-time", "60", "-X", method, "-H", "content-type: application/json"];
        if method == "POST" {
            command.extend(["-d", &body]);
        }
        command.push(&url);
        let answer: Value = serde_json::from_str(&run_in(&self.namespace, &command)?).map_err(|error| error.to_string())?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    #[track_caller]
    fn of_session(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.of_session("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Goes there.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.of_session("/url", &json!({"url": url}));
    }

    /// What a script of the test (`return …`) finds in the page.
    #[track_caller]
    pub(crate) fn ask(&self, script: &str) -> Value {
        self.of_session("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the first element that matches; empty if there is none.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.ask(&format!("const it = document.querySelector({}); return it ? it.innerText : '';", json!(selector)));
        found.as_str().unwrap_or_default().to_owned()
    }

    /// A window this wide, in the scheme `light` or `dark`.
    #[track_caller]
    pub(crate) fn look(&self, width: u32, scheme: &str) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}),
        );
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}));
    }

    /// A picture of the whole page.
    #[track_caller]
    pub(crate) fn picture(&self, file: &Path) {
        let size = self.devtools("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let shot = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true, "clip": clip}));
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("it is base64");
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("target is ours");
        fs::write(file, png).expect("target is ours");
    }

    /// What the console complained of since this was asked last.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.of_session("/se/log", &json!({"type": "browser"}));
        entries.as_array().into_iter().flatten().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Every URL that was asked for since this was asked last.
    #[track_caller]
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.of_session("/se/log", &json!({"type": "performance"}));
        let messages = entries.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
        let messages = messages.filter_map(|text| serde_json::from_str::<Value>(text).ok()).map(|entry| entry["message"].clone());
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.filter_map(|message| message["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; without one there is none.
        let _ = self.try_call("DELETE", &format!("/session/{}", self.session), &json!({}));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
