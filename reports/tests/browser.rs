//! The pages in a real browser: they filter, open, lead on, overlap nowhere, and ask nobody for anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use reports::{html, json};
use serde_json::Value;

fn browser() -> Option<&'static str> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| std::env::split_paths(&dirs).any(|dir| dir.join(name).is_file()));
    if found.is_none() {
        println!("skipped: browser: there is no chromium: apt-get install chromium");
    }
    found
}

/// Loads a page, runs a script in it that leaves its findings in `findings`, and returns them. Whatever is written to the
/// console - and a request that the page's own policy forbids is - fails the test.
fn look(browser: &str, page: &str, width: u32, script: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    let asking = format!(
        "<script>addEventListener('load', () => {{ const findings = {{}}; try {{ {script} }} catch (e) {{ findings.error = String(e); }} \
         const out = document.createElement('pre'); out.id = 'findings'; out.textContent = JSON.stringify(findings); \
         document.body.append(out); }});</script></body>"
    );
    fs::write(&file, page.replacen("</body>", &asking, 1)).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
        ])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dom.rsplit("<pre id=\"findings\">").next().unwrap().split("</pre>").next().unwrap();
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {}", &found[..found.len().min(400)]))
}

/// Boxes of neighbours that lie on each other, and whatever is wider than the window.
const OVERLAPS: &str = "
    const overlaps = [];
    const crosses = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    for (const parent of document.querySelectorAll('summary, form, header, tr, dl')) {
        const boxes = [...parent.children].map((child) => [child, child.getBoundingClientRect()])
            .filter(([, box]) => box.width > 0 && box.height > 0);
        for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++)
            if (crosses(boxes[i][1], boxes[j][1])) overlaps.push(boxes[i][0].textContent.slice(0, 40) + ' | ' + boxes[j][0].textContent.slice(0, 40));
    }
    for (const svg of document.querySelectorAll('figure svg')) {
        const texts = [...svg.querySelectorAll('text')].map((text) => [text, text.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
        for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++)
            if (crosses(texts[i][1], texts[j][1])) overlaps.push('chart: ' + texts[i][0].textContent.trim() + ' | ' + texts[j][0].textContent.trim());
    }
    findings.overlaps = overlaps;
    findings.tooWide = document.documentElement.scrollWidth > document.documentElement.clientWidth + 1;
";

fn record() -> record::Run {
    json::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/run.json")).unwrap()
}

#[test]
fn the_page_filters_opens_and_leads_on() {
    let Some(browser) = browser() else { return };
    let run = record();
    let page = html::page(&run);
    let script = "
        const shown = () => document.querySelectorAll('details.check:not(.hidden)').length;
        const form = document.querySelector('form');
        findings.all = shown();
        for (const box of form.querySelectorAll('input[name=verdict]')) { box.checked = box.value === 'fail'; }
        form.dispatchEvent(new Event('input'));
        findings.failing = shown();
        for (const box of form.querySelectorAll('input[name=verdict]')) box.checked = true;
        form.elements.text.value = 'QUOTA';
        form.dispatchEvent(new Event('input'));
        findings.quota = [...document.querySelectorAll('details.check:not(.hidden)')].map((check) => check.id);
        form.elements.text.value = '';
        form.elements.area.value = 'cpu';
        form.dispatchEvent(new Event('input'));
        findings.cpu = shown();
        form.elements.area.value = '';
        form.dispatchEvent(new Event('input'));
        const check = document.querySelector('details.check');
        check.querySelector('summary').click();
        findings.opened = check.open && check.querySelector('.evidence').getBoundingClientRect().height > 0;
        const link = check.querySelector('a[href^=\"#\"]');
        check.open = false;
        link.click();
        findings.hash = location.hash;
        // A link leads below the bar that stays at the top.
        const last = [...document.querySelectorAll('details.check')].at(-1);
        last.scrollIntoView();
        findings.clear = last.getBoundingClientRect().top >= form.getBoundingClientRect().bottom - 1;
        findings.title = document.title;
    ";
    let found = look(browser, &page, 1200, script);
    assert_eq!(found["error"], Value::Null, "{found}");
    let fails = run.counts().fail;
    assert_eq!(
        (found["all"].as_u64(), found["failing"].as_u64()),
        (Some(run.outcomes.len() as u64), Some(fails as u64))
    );
    let quota: Vec<&str> = found["quota"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(quota.contains(&"cpu.quota.sweep-core") && !quota.contains(&"ns.pid.app-is-1-core"), "{quota:?}");
    let cpu = run.outcomes.iter().filter(|outcome| outcome.area().0 == "cpu").count();
    assert_eq!(found["cpu"].as_u64(), Some(cpu as u64));
    assert_eq!(found["opened"], true);
    // What failed comes first.
    assert_eq!(found["hash"], "#life.hooks-core");
    assert_eq!(found["clear"], true, "{found}");
}

#[test]
fn nothing_overlaps_wide_or_narrow_open_or_closed() {
    let Some(browser) = browser() else { return };
    let page = html::page(&record());
    let open =
        format!("for (const check of document.querySelectorAll('details')) check.open = true; {OVERLAPS}");
    for width in [1400, 700, 420] {
        for script in [OVERLAPS, &open] {
            let found = look(browser, &page, width, script);
            assert_eq!(found["error"], Value::Null, "{found}");
            assert_eq!(found["overlaps"], serde_json::json!([]), "at {width}");
            assert_eq!(found["tooWide"], false, "at {width}");
        }
    }
}

#[test]
fn nothing_overlaps_in_the_page_of_a_benchmark() {
    let Some(browser) = browser() else { return };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bench.json");
    let page = html::bench_page(&json::read_bench(&data).unwrap());
    for width in [1400, 420] {
        let found = look(browser, &page, width, OVERLAPS);
        assert_eq!(found["error"], Value::Null, "{found}");
        assert_eq!(found["overlaps"], serde_json::json!([]), "at {width}");
        assert_eq!(found["tooWide"], false, "at {width}");
    }
}

#[test]
fn a_cell_of_the_matrix_opens_its_evidence() {
    let Some(browser) = browser() else { return };
    let row = |name: &str| {
        let mut row = record::matrix::Row::failed(name, "generic", "v2", String::new());
        row.run = Some(record());
        row
    };
    let whole = record::matrix::Matrix {
        schema_version: 1,
        plimsoll: String::new(),
        rows: vec![row("one"), row("two")],
    };
    let script = format!(
        "document.querySelector('button[data-check=\"life.hooks\"]').click();
         const dialog = document.querySelector('dialog');
         const colour = (verdict) => getComputedStyle(document.querySelector('button.' + verdict)).color;
         findings.colours = new Set(['pass', 'fail', 'skip'].map(colour)).size;
         findings.header = getComputedStyle(document.querySelector('thead th')).position;
         findings.open = dialog.open; findings.text = dialog.textContent; dialog.close(); {OVERLAPS}"
    );
    let found = look(browser, &html::matrix_page(&whole), 1200, &script);
    assert_eq!((&found["error"], &found["open"]), (&Value::Null, &Value::Bool(true)), "{found}");
    assert!(found["text"].as_str().unwrap().contains("FAILED: "), "{found}");
    assert_eq!((&found["colours"], &found["header"]), (&Value::from(3), &Value::from("sticky")), "{found}");
    assert_eq!(found["overlaps"], serde_json::json!([]));
}

/// What a large matrix costs: 20 kernels, 212 checks.
#[test]
fn a_large_matrix_opens_within_a_second() {
    let Some(browser) = browser() else { return };
    let template = record().outcomes;
    let rows = (0..20).map(|number| {
        let mut run = record();
        run.outcomes = (0..212)
            .map(|check| {
                let mut outcome = template[check % template.len()].clone();
                outcome.check = format!("area{}.check-{check}", check / 20);
                outcome
            })
            .collect();
        let mut row =
            record::matrix::Row::failed(&format!("kernel-{number}"), "generic", "v2", String::new());
        row.run = Some(run);
        row
    });
    let whole = record::matrix::Matrix { schema_version: 1, plimsoll: String::new(), rows: rows.collect() };
    let page = html::matrix_page(&whole);
    let script = "const all = performance.getEntriesByType('navigation')[0];
                  findings.ready = all.domContentLoadedEventEnd; findings.cells = document.querySelectorAll('td button').length;";
    // Other browsers start at the same time: the fastest of three tells what the page itself costs.
    let tries = (0..3).map(|_| {
        let found = look(browser, &page, 1200, script);
        assert_eq!(found["cells"], 20 * 212, "{found}");
        found["ready"].as_f64().unwrap()
    });
    let ready = tries.fold(f64::INFINITY, f64::min);
    println!("{} KiB, ready after {ready:.0} ms", page.len() / 1024);
    assert!(ready < 1000.0, "{ready} ms");
}
