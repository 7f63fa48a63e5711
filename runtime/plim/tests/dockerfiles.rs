//! Dockerfiles as people write them, built by the command. Expected values: Dockerfile reference.

use std::fs;
use std::path::Path;

use serde_json::Value;

mod common;

use common::Shop;

/// Builds a Dockerfile with the files of a context; status, output and errors.
fn build(shop: &Shop, tag: &str, text: &str, files: &[(&str, &str)]) -> (i32, String, String) {
    let context = shop.path("context");
    let _ = fs::remove_dir_all(&context);
    fs::create_dir_all(&context).unwrap();
    for (name, content) in files.iter().chain([&("Dockerfile", text)]) {
        let path = context.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, content).unwrap();
    }
    shop.said(&["build", "--network", "none", "-t", tag, context.to_str().unwrap()])
}

fn built(shop: &Shop, text: &str, files: &[(&str, &str)]) -> String {
    let (status, out, err) = build(shop, "built", text, files);
    assert_eq!(status, 0, "{text}\n{out}\n{err}");
    out
}

fn config(shop: &Shop) -> Value {
    let all: Value = serde_json::from_str(&shop.plim(&["inspect", "built"])).unwrap();
    all[0]["Config"].clone()
}

fn cat(shop: &Shop, paths: &[&str]) -> String {
    shop.alone(&[&["built", "cat"], paths].concat())
}

#[test]
fn here_documents_have_their_own_names_and_content() {
    let Some(shop) = Shop::open("here-documents") else { return };
    let text = "FROM box\n\
        ARG who=you\n\
        COPY <<robots.txt <<humans.txt /static/\nUser-agent: *\nrobots.txt\nhello $who\nhumans.txt\n\
        COPY <<config.json /etc/app/\n{\"a\": 1}\nconfig.json\n\
        COPY <<'RAW' /raw\n$who\nRAW\n\
        COPY <<OUTER /nested\nRUN <<EOF\necho inner\nEOF\nOUTER\n\
        RUN <<EOF cat > /z\nin z\nEOF\n\
        RUN cat <<A > /a && cat <<B > /b\none\nA\ntwo\nB\n\
        RUN <<EOF\n#!/bin/busybox ash\necho \"$0 ran\" > /shebang\nEOF\n\
        RUN <<-EOF\n\techo tabs > /tabs\n\tEOF\n";
    built(&shop, text, &[]);
    assert_eq!(cat(&shop, &["/static/robots.txt", "/static/humans.txt"]), "User-agent: *\nhello you");
    assert_eq!(cat(&shop, &["/etc/app/config.json", "/raw"]), "{\"a\": 1}\n$who");
    assert_eq!(cat(&shop, &["/nested"]), "RUN <<EOF\necho inner\nEOF");
    assert_eq!(cat(&shop, &["/z", "/a", "/b", "/tabs"]), "in z\none\ntwo\ntabs");
    assert_eq!(cat(&shop, &["/shebang"]), "/dev/pipes/EOF ran");
}

#[test]
fn instructions_keep_what_others_said() {
    let Some(shop) = Shop::open("instructions") else { return };
    built(
        &shop,
        "FROM box\nCMD [\"echo\", \"mine\"]\nENTRYPOINT [\"busybox\"]\nENV V=a.tar.gz P=\"80 90/UDP\"\n\
         LABEL stem=${V%%.*} end=${V##*.} dashed=${V//./-}\nEXPOSE $P 7000-7001/TCP\n",
        &[],
    );
    assert_eq!(shop.alone(&["built"]), "mine");
    let found = config(&shop);
    assert_eq!(found["Labels"]["stem"], "a");
    assert_eq!(found["Labels"]["end"], "gz");
    assert_eq!(found["Labels"]["dashed"], "a-tar-gz");
    let ports: Vec<_> = found["ExposedPorts"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(ports, ["7000/tcp", "7001/tcp", "80/tcp", "90/udp"]);
    built(&shop, "FROM built\nENTRYPOINT []\nCMD [\"echo\", \"bare\"]\n", &[]);
    assert_eq!(shop.alone(&["built"]), "bare");
    built(&shop, "FROM box AS one\nCMD [\"echo\", \"old\"]\nFROM one\nENTRYPOINT [\"echo\", \"new\"]\n", &[]);
    assert_eq!(shop.alone(&["built"]), "new");
}

#[test]
fn what_is_taken_back_is_copied_with_its_directories() {
    let Some(shop) = Shop::open("ignore") else { return };
    let files = [
        (".dockerignore", "*\n!src/main\n!docs/**/*.md\n"),
        ("src/main", "main"),
        ("src/rest", "rest"),
        ("docs/a/b/c.md", "c"),
        ("docs/a/x", "x"),
        ("other", "other"),
    ];
    built(&shop, "FROM box\nCOPY src /src\nCOPY . /all\n", &files);
    let list = "cd /src && busybox find . -type f; cd /all && busybox find . -type f | busybox sort";
    assert_eq!(shop.alone(&["built", "sh", "-c", list]), "./main\n./docs/a/b/c.md\n./src/main");
    let (status, _, err) = build(&shop, "no", "FROM box\nCOPY other /\n", &files);
    assert!(status != 0 && err.contains("Dockerfile:2") && err.contains(".dockerignore"), "{err}");
}

#[test]
fn what_is_mounted_while_a_command_runs_is_part_of_what_it_depends_on() {
    let Some(shop) = Shop::open("mounts") else { return };
    let text = "FROM box\nRUN --mount=type=bind,source=req.txt,target=/req cat /req > /got\n";
    built(&shop, text, &[("req.txt", "one")]);
    assert!(built(&shop, text, &[("req.txt", "one"), ("other", "x")]).contains("Using cache"));
    assert!(!built(&shop, text, &[("req.txt", "two")]).contains("Using cache"));
    assert_eq!(cat(&shop, &["/got"]), "two");
    // What .dockerignore leaves out is not there, and what is written there is gone.
    let files = [(".dockerignore", "secret\n"), ("src/a", "a"), ("src/secret", "s"), ("secret", "s")];
    built(
        &shop,
        "FROM box\nWORKDIR /work\nRUN --mount=target=in,rw ls -a in in/src > /list && echo x > in/new\nRUN ls -a in > /later || true\n",
        &files,
    );
    let list = cat(&shop, &["/list", "/later"]);
    assert!(
        list.contains("Dockerfile") && list.lines().filter(|line| *line == "secret").count() == 1,
        "{list}"
    );
    assert!(!list.contains("new"), "{list}");
}

#[test]
fn mounts_come_from_stages_caches_memory_and_secrets() {
    let Some(shop) = Shop::open("mount types") else { return };
    fs::write(shop.path("key"), "open-sesame-7").unwrap();
    let context = shop.path("context");
    fs::create_dir_all(&context).unwrap();
    let text = "FROM box AS one\nRUN echo made > /made\nFROM box\nARG at=/from-one\n\
        RUN --mount=from=one,source=/made,target=$at cat /from-one > /got\n\
        RUN --mount=type=cache,target=/cache,uid=7,mode=0770 echo x >> /cache/x; busybox stat -c '%u %a' /cache > /cached\n\
        RUN --mount=type=cache,target=/cache cat /cache/x >> /cached\n\
        RUN --mount=type=tmpfs,target=/t,size=1m busybox df -k /t | busybox tail -1 > /memory\n\
        RUN --mount=type=secret,id=key cat /run/secrets/key > /dev/null && busybox stat -c '%a' /run/secrets/key > /mode\n\
        RUN --mount=type=secret,id=key,env=KEY test ${#KEY} = 13\n\
        RUN test -z \"$KEY\" && test ! -s /run/secrets/key\n";
    fs::write(context.join("Dockerfile"), text).unwrap();
    let key = format!("id=key,src={}", shop.path("key").display());
    let words = ["build", "--network", "none", "--secret", &key, "-t", "built", context.to_str().unwrap()];
    shop.plim(&words);
    assert_eq!(cat(&shop, &["/got", "/cached", "/mode"]), "made\n7 770\nx\n400");
    assert!(cat(&shop, &["/memory"]).contains("1024"));
    let layers = shop.path("saved.tar");
    shop.plim(&["save", "-o", layers.to_str().unwrap(), "built"]);
    assert!(!fs::read(&layers).unwrap().windows(13).any(|window| window == b"open-sesame-7"));
    for (text, part) in [
        ("FROM box\nRUN --mount=type=ssh true\n", "SSH"),
        ("FROM box\nRUN --mount=type=secret,id=none,required true\n", "'none'"),
        ("FROM box\nRUN --mount=target=/x,source=missing true\n", "'/missing'"),
        ("FROM box\nRUN --mount=target=/x,colour=red true\n", "'colour'"),
    ] {
        let (status, _, err) = build(&shop, "no", text, &[]);
        assert!(status != 0 && err.contains("Dockerfile:2") && err.contains(part), "{text}: {err}");
    }
}

#[test]
fn a_working_directory_is_made_and_belongs_to_the_user() {
    let Some(shop) = Shop::open("working directory") else { return };
    built(&shop, "FROM box\nWORKDIR /app\nUSER me\nWORKDIR deep/er\nWORKDIR /etc\nUSER root\n", &[]);
    let said =
        shop.alone(&["built", "busybox", "stat", "-c", "%n %U %a", "/app", "/app/deep", "/app/deep/er"]);
    assert_eq!(said, "/app root 755\n/app/deep me 755\n/app/deep/er me 755");
    let all: Value = serde_json::from_str(&shop.plim(&["inspect", "built"])).unwrap();
    // One layer below, and one for each directory that was missing.
    assert_eq!(all[0]["RootFS"]["Layers"].as_array().unwrap().len(), 3, "{all}");
    assert_eq!(shop.alone(&["built", "pwd"]), "/etc");
}

#[test]
fn errors_name_file_line_column_and_what_was_expected() {
    let Some(shop) = Shop::open("errors") else { return };
    for (text, place, word) in [
        ("FROM box\nRUN cat <<EOF\nx\n", "Dockerfile:2:1", "'EOF'"),
        ("FROM box\n  FLY away\n", "Dockerfile:2:3", "'FLY'"),
        ("FROM box\nLABEL a=${V!x}\n", "Dockerfile:2", "'!'"),
        ("FROM box\nSHELL /bin/sh\n", "Dockerfile:2:1", "JSON"),
        ("FROM box\nEXPOSE x\n", "Dockerfile:2", "'x'"),
    ] {
        let (status, _, err) = build(&shop, "no", text, &[]);
        assert!(status != 0 && err.contains(place) && err.contains(word), "{text}: {err}");
    }
}

#[test]
fn owners_paths_and_variables_are_those_of_the_reference() {
    let Some(shop) = Shop::open("owners") else { return };
    built(
        &shop,
        "FROM box\nARG X=5\nARG X\nCOPY --chown=me a /c/d/e\nCOPY --chown=7 a /n\nCOPY --chown=9:1 a /o/\n\
         COPY <<F /path\n$PATH\nF\nENV PATH=/x:$PATH\nVOLUME [\"/x y\"]\nRUN echo $X > /arg\n",
        &[("a", "a")],
    );
    let paths = ["/c", "/c/d", "/c/d/e", "/n", "/o", "/o/a"];
    let said = shop.alone(&[&["built", "busybox", "stat", "-c", "%u:%g"], &paths[..]].concat());
    assert_eq!(said, "7:8\n7:8\n7:8\n7:7\n9:1\n9:1");
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(cat(&shop, &["/path", "/arg"]), format!("{usual}\n5"));
    let found = config(&shop);
    assert_eq!(found["Env"][0], format!("PATH=/x:{usual}"));
    assert!(found["Volumes"]["/x y"].is_object(), "{found}");
}
