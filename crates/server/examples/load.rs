//! Measures two servers side by side, ours and the real one, with the same requests in one run.
//!
//! `cargo run --release -p yolo11-server --example load -- OURS=http://127.0.0.1:5000 REAL=http://127.0.0.1:5001 [seconds=10] [clients=50] [runs=10000] [at_real=ID] [do=log,search]`
//!
//! First every client sends one batch of 1,000 metrics after the other and waits for each answer (a closed loop), at the real server and at
//! ours: the greatest throughput of each. Then, at ours alone, the clients are paced to ten times the real server's throughput in all, and
//! the time from the moment a batch was due until its answer is taken. At last both are filled with runs and searched. Filling the real
//! server so takes most of an hour: `fill_mlflow.py` beside this file writes the same runs into its database and tells the experiment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Metrics in a batch: so many keys, each with so many steps.
const KEYS: usize = 20;
const STEPS: usize = 50;

/// A connection that is kept.
struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(host: &str) -> Result<Client, Failure> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Client { host: host.to_owned(), stream: BufReader::new(stream) })
    }

    fn post(&mut self, path: &str, body: &str) -> Result<(u16, Vec<u8>), Failure> {
        let request = format!(
            "POST /api/2.0/mlflow/{path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or("no answer")?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }

    fn json(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let (status, answer) = self.post(path, &body.to_string())?;
        match status {
            200 => Ok(serde_json::from_slice(&answer)?),
            _ => Err(format!("{path}: {status} {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

fn experiment(host: &str, name: &str) -> Result<String, Failure> {
    let name = format!("{name} {}", std::process::id());
    let made = Client::new(host)?.json("experiments/create", &json!({"name": name}))?;
    Ok(made["experiment_id"].as_str().unwrap_or_default().to_owned())
}

fn run(client: &mut Client, experiment: &str, number: usize) -> Result<String, Failure> {
    let request = json!({"experiment_id": experiment, "start_time": 1_700_000_000_000_u64 + number as u64, "run_name": format!("run {number}")});
    let made = client.json("runs/create", &request)?;
    Ok(made["run"]["info"]["run_id"].as_str().unwrap_or_default().to_owned())
}

/// The body of the batch with a number: all its points are new.
fn batch(run_id: &str, number: u64) -> String {
    let mut text = format!("{{\"run_id\":\"{run_id}\",\"metrics\":[");
    for point in 0..KEYS * STEPS {
        let step = number as usize * STEPS + point / KEYS;
        let comma = if point == 0 { "" } else { "," };
        let value = 1.0 / (1.0 + step as f64) + (point % KEYS) as f64;
        let timestamp = 1_700_000_000_000 + step;
        text.push_str(&format!(
            "{comma}{{\"key\":\"train/metric_{:02}\",\"value\":{value},\"timestamp\":{timestamp},\"step\":{step}}}",
            point % KEYS
        ));
    }
    text.push_str("]}");
    text
}

struct Measured {
    batches: u64,
    failed: u64,
    seconds: f64,
    milliseconds: Vec<f64>,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.batches as f64 / self.seconds
    }

    fn percentile(&self, share: f64) -> f64 {
        let place = ((self.milliseconds.len() as f64 - 1.0) * share).round() as usize;
        self.milliseconds.get(place).copied().unwrap_or(f64::NAN)
    }

    fn told(&self, name: &str) {
        println!(
            "{name}: {:.1} batches/s ({:.0} metrics/s), {} failed; ms p50 {:.1} p95 {:.1} p99 {:.1} most {:.1}",
            self.rate(),
            self.rate() * (KEYS * STEPS) as f64,
            self.failed,
            self.percentile(0.5),
            self.percentile(0.95),
            self.percentile(0.99),
            self.percentile(1.0)
        );
    }
}

/// Clients that each log to a run of their own. `pace`: batches a second of all together; none for as fast as answers come.
fn log(host: &str, clients: usize, seconds: f64, pace: Option<f64>) -> Result<Measured, Failure> {
    let experiment = experiment(host, if pace.is_some() { "paced" } else { "load" })?;
    let failed = Arc::new(AtomicU64::new(0));
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut ready = Vec::new();
    for number in 0..clients {
        let mut client = Client::new(host)?;
        let run_id = run(&mut client, &experiment, number)?;
        ready.push((client, run_id));
    }
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = ready
        .into_iter()
        .enumerate()
        .map(|(place, (mut client, run_id))| {
            let (failed, times) = (Arc::clone(&failed), Arc::clone(&times));
            thread::spawn(move || {
                let mut own = Vec::new();
                for number in 0.. {
                    let due = match pace {
                        None => Instant::now(),
                        Some(pace) => {
                            began + Duration::from_secs_f64((number as f64 * clients as f64 + place as f64) / pace)
                        }
                    };
                    if due >= end || Instant::now() >= end {
                        break;
                    }
                    let body = batch(&run_id, number);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let sent = if pace.is_some() { due } else { Instant::now() };
                    match client.post("runs/log-batch", &body) {
                        Ok((200, _)) => own.push(sent.elapsed().as_secs_f64() * 1e3),
                        _ => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            if let Ok(fresh) = Client::new(&client.host) {
                                client = fresh;
                            }
                        }
                    }
                }
                times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(own);
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a client failed")?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut milliseconds = std::mem::take(&mut *times.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    milliseconds.sort_by(f64::total_cmp);
    Ok(Measured { batches: milliseconds.len() as u64, failed: failed.load(Ordering::Relaxed), seconds, milliseconds })
}

/// Fills an experiment with runs, each with metrics, params and tags.
fn fill(host: &str, runs: usize) -> Result<String, Failure> {
    let experiment = experiment(host, "search")?;
    let next = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (host, experiment, next) = (host.to_owned(), experiment.clone(), Arc::clone(&next));
            thread::spawn(move || -> Result<(), Failure> {
                let mut client = Client::new(&host)?;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                    if number >= runs {
                        return Ok(());
                    }
                    let run_id = run(&mut client, &experiment, number)?;
                    let metrics: Vec<Value> = (0..8)
                        .map(|key| json!({"key": format!("metric_{key}"), "value": ((number * 7919 + key * 104_729) % 10_007) as f64 / 10_007.0, "timestamp": 1_700_000_000_000_u64, "step": 1}))
                        .collect();
                    let pair = |what: &str, key: usize| json!({"key": format!("{what}_{key}"), "value": format!("{}", (number + key) % 10)});
                    let params: Vec<Value> = (0..20).map(|key| pair("param", key)).collect();
                    let tags: Vec<Value> = (0..5).map(|key| pair("tag", key)).collect();
                    client.json("runs/log-batch", &json!({"run_id": run_id, "metrics": metrics, "params": params, "tags": tags}))?;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a client failed")??;
    }
    Ok(experiment)
}

/// The median of a search's times in milliseconds, and how many runs were found. `whole`: page after page, until there are no more.
fn search(host: &str, request: &Value, whole: bool, times: usize) -> Result<(f64, usize), Failure> {
    let mut client = Client::new(host)?;
    let (mut all, mut found) = (Vec::new(), 0);
    for _ in 0..times {
        let mut request = request.clone();
        let mut spent = 0.0;
        found = 0;
        loop {
            let body = request.to_string();
            let began = Instant::now();
            let (status, answer) = client.post("runs/search", &body)?;
            spent += began.elapsed().as_secs_f64() * 1e3;
            if status != 200 {
                return Err(format!("{status} {}", String::from_utf8_lossy(&answer)).into());
            }
            let answer: Value = serde_json::from_slice(&answer)?;
            found += answer["runs"].as_array().map_or(0, Vec::len);
            match answer["next_page_token"].as_str() {
                Some(token) if whole && !token.is_empty() => request["page_token"] = token.into(),
                _ => break,
            }
        }
        all.push(spent);
    }
    all.sort_by(f64::total_cmp);
    Ok((all[all.len() / 2], found))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| {
        arguments.iter().find_map(|argument| argument.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    let host =
        |name: &str| given(name).map(|address| address.trim_start_matches("http://").trim_end_matches('/').to_owned());
    let (Some(ours), Some(real)) = (host("OURS"), host("REAL")) else {
        return Err("usage: load OURS=http://127.0.0.1:5000 REAL=http://127.0.0.1:5001 [seconds=10] [clients=50] [runs=10000] [do=log,search]".into());
    };
    let number = |name: &str, usual: f64| given(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (seconds, clients, runs) =
        (number("seconds", 10.0), number("clients", 50.0) as usize, number("runs", 10_000.0) as usize);
    let parts = given("do").unwrap_or_else(|| "log,search".to_owned());
    if parts.contains("log") {
        let of_real = log(&real, clients, seconds, None)?;
        of_real.told("real server, closed loop");
        let of_ours = log(&ours, clients, seconds, None)?;
        of_ours.told("ours, closed loop       ");
        println!("ours / real: {:.1}", of_ours.rate() / of_real.rate());
        let paced = log(&ours, clients, seconds, Some(of_real.rate() * 10.0))?;
        paced.told("ours, paced to 10 × real");
    }
    if parts.contains("fill") || parts.contains("search") {
        let filled = |name: &str, host: &str| match given(name) {
            Some(experiment) => Ok(experiment),
            None => fill(host, runs).inspect(|experiment| println!("filled with {runs} runs: {name}={experiment}")),
        };
        let (at_ours, at_real) = (filled("at_ours", &ours)?, filled("at_real", &real)?);
        if !parts.contains("search") {
            return Ok(());
        }
        for (name, whole, request) in [
            ("the 100 youngest", false, json!({"max_results": 100})),
            ("100 by a metric's value", false, json!({"max_results": 100, "filter": "metrics.metric_1 > 0.9"})),
            ("100 by a param", false, json!({"max_results": 100, "filter": "params.param_2 = '7'"})),
            (
                "100 by a tag's pattern",
                false,
                json!({"max_results": 100, "filter": "tags.tag_1 LIKE '%3%' and attributes.status = 'RUNNING'"}),
            ),
            ("100 ordered by a metric", false, json!({"max_results": 100, "order_by": ["metrics.metric_3 DESC"]})),
            (
                "100 by metric and param, ordered",
                false,
                json!({"max_results": 100, "filter": "metrics.metric_1 > 0.5 and params.param_2 = '7'", "order_by": ["metrics.metric_1 DESC"]}),
            ),
            ("all, in pages of 1000", true, json!({"max_results": 1000})),
        ] {
            let ask = |experiment: &str| {
                let mut request = request.clone();
                request["experiment_ids"] = json!([experiment]);
                request
            };
            let times = if whole { 3 } else { 7 };
            let (real_ms, real_found) = search(&real, &ask(&at_real), whole, times)?;
            let (ours_ms, ours_found) = search(&ours, &ask(&at_ours), whole, times)?;
            println!(
                "search, {name}: real {real_ms:.1} ms, ours {ours_ms:.1} ms, {:.1} × ({ours_found} found, {real_found})",
                real_ms / ours_ms
            );
        }
    }
    Ok(())
}
