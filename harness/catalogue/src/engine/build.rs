//! Images from Dockerfiles. The shell of the built-in image is the probe: its commands are the probe's verbs.

use serde_json::json;

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{Ability, EngineFixture, Output};
use kit::fault::{Fault, before};
use kit::verbs::{look, state, tree};

const REFERENCE: &str = "Dockerfile reference";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "build.instruction-is-layer",
        "each filesystem instruction makes one layer, each other one a config change",
        REFERENCE,
        instruction_is_layer,
    )
    .faults(&[edited("layers squashed"), edited("ENV lost"), edited("LABEL lost"), edited("CMD lost")]),
    Check::of_engine(
        "build.env-workdir-user",
        "ENV, WORKDIR, USER, ARG, LABEL, EXPOSE act as documented, with variable substitution",
        "Dockerfile reference, Environment replacement, ARG, WORKDIR, USER",
        env_workdir_user,
    )
    .faults(&[edited("one dropped")]),
    Check::of_engine(
        "build.copy-add",
        "COPY and ADD with globs, --chown, --chmod, --from; ADD unpacks local archives; .dockerignore holds",
        "Dockerfile reference, COPY, ADD, .dockerignore file",
        copy_add,
    )
    .faults(&[
        before("ignore file ignored", |engine, words| {
            when(words, "build", || {
                Ok(std::fs::remove_file(engine.path("context/.dockerignore")).map(|()| None)?)
            })
        }),
        before("empty files", |engine, words| {
            when(words, "build", || {
                for file in ["a.txt", "b.txt", "dir/one", "dir/sub/two"] {
                    std::fs::write(engine.path("context").join(file), "")?;
                }
                Ok(None)
            })
        }),
    ]),
    Check::of_engine(
        "build.multi-stage",
        "only the copied files reach the last stage",
        "Dockerfile reference, FROM; Multi-stage builds",
        multi_stage,
    )
    .faults(&[edited("stages merged")]),
    Check::of_engine(
        "build.cache",
        "an unchanged step is reused, a changed file or earlier step invalidates the rest",
        "Docker documentation, Build cache invalidation",
        cache,
    )
    .faults(&[before("stale reuse", |engine, words| {
        when(words, "build", || {
            // Whatever changed in the context is hidden from the build.
            std::fs::write(engine.path("context/file"), "first")?;
            Ok(None)
        })
    })]),
];

/// A fault in the Dockerfile that the engine gets: as if it had understood another one.
pub(super) const fn edited(name: &'static str) -> Fault {
    // Such a fault can hold no edit, so it is found again by its name.
    before(name, |engine, words| {
        when(words, "build", || {
            let file = engine.path("context/Dockerfile");
            let text = std::fs::read_to_string(&file)?;
            let edit = edit_of(engine).ok_or_else(|| Trouble::Harness("an edit without a name".into()))?;
            std::fs::write(&file, edit(&text))?;
            Ok(None)
        })
    })
}

/// Makes another Dockerfile of one.
type Edit = fn(&str) -> String;

fn edit_of(engine: &EngineFixture) -> Option<Edit> {
    let edits: [(&str, Edit); 11] = [
        ("ENV lost", |text| text.replace("ENV A=1\n", "")),
        ("LABEL lost", |text| text.replace("LABEL a=b\n", "")),
        ("CMD lost", |text| text.replace("CMD [\"x\"]\n", "")),
        ("COPY always fails", |text| text.replace("COPY ", "COPY no/such/")),
        ("layers squashed", |text| text.replace("\"\nRUN ", "\" && ")),
        ("CMD dropped", |text| text.replace("CMD [\"default\"]", "")),
        ("always shell", |text| text.replace("CMD [\"/probe\", \"process\"]", "CMD process")),
        ("appended", |text| {
            text.replace("ENTRYPOINT arguments alone", "ENTRYPOINT [\"/probe\", \"arguments\", \"alone\"]")
        }),
        ("one dropped", |text| text.replace("USER sailor:crew", "")),
        ("stages merged", |text| {
            text.replace(
                "FROM base AS unused\nRUN exit 1\nFROM base AS last\nCOPY --from=first /made /made\n",
                "",
            )
        }),
        ("image tagged", |text| text.replace("RUN exit $STATUS\n", "")),
    ];
    edits.into_iter().find(|(name, _)| engine.has(name)).map(|(_, edit)| edit)
}

/// The same words with more before the last one.
pub(super) fn insert_before_last(words: &[String], more: &[&str]) -> Option<Vec<String>> {
    let (last, rest) = words.split_last()?;
    if last.starts_with("own") {
        let mut words = rest.to_vec();
        // The image's command comes before the user's, which is the fault.
        words.retain(|word| word != "/probe" && word != "arguments");
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words.push(last.clone());
        return Some(words);
    }
    None
}

/// Builds from a Dockerfile in the context that lies there.
pub(super) fn build(
    engine: &EngineFixture,
    text: &str,
    tag: &str,
    flags: &[&str],
) -> Result<Output, Trouble> {
    let context = engine.directory("context")?;
    std::fs::write(context.join("Dockerfile"), text)?;
    engine.output(&[&["build", "--network", "none", "-t", tag], flags, &[&engine.text("context")]].concat())
}

pub(super) fn built(engine: &EngineFixture, text: &str, tag: &str) -> Result<String, Trouble> {
    let said = build(engine, text, tag, &[])?;
    if said.status == 0 {
        Ok(format!("{}\n{}", said.out, said.err))
    } else {
        Err(Trouble::Subject(format!("build: {}", said.err)))
    }
}

const ALONE: &[&str] = &["run", "--rm", "--network", "none"];

pub(super) fn output(engine: &EngineFixture, words: &[&str]) -> Result<String, Trouble> {
    engine.command(&[ALONE, words].concat())
}

fn instruction_is_layer(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    std::fs::write(engine.directory("context")?.join("file"), "x")?;
    let text = "FROM base\nCOPY file /file\nENV A=1\nRUN write /one \"1\"\nRUN write /two 2\nLABEL a=b\nCMD [\"x\"]\n";
    built(engine, text, "layered")?;
    let layers = engine.layers("layered")?;
    engine.seen.expect_eq("layers", &layers.len(), &4);
    for (number, path) in [(1, "file"), (2, "one"), (3, "two")] {
        let paths = layers.get(number).map(|layer| layer.paths.clone()).unwrap_or_default();
        engine.seen.expect_eq(&format!("layer {number}"), &paths, &vec![path.to_owned()]);
    }
    let variables = engine.inspect("layered", "/Config/Env")?;
    let set = variables.as_array().is_some_and(|all| all.contains(&json!("A=1")));
    engine.seen.expect("variables of the image", &variables, "A=1 among them", set);
    for (at, wanted) in [("/Config/Labels/a", json!("b")), ("/Config/Cmd", json!(["x"]))] {
        let found = engine.inspect("layered", at)?;
        engine.seen.expect_json(at, &found, &wanted);
    }
    let seen = engine.run(&["--network", "none"], "layered", state::env("A"))?;
    engine.seen.expect_eq("the variable in a container", &seen.as_deref(), &Some("1"));
    Ok(())
}

fn env_workdir_user(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let text = "ARG VERSION=1\nFROM base\nARG VERSION\nARG PLACE=nowhere\nENV DIR=/deck NOTE=\"version ${VERSION:-none}\"\n\
                ENV REST=${UNSET:+set}${UNSET:-unset} LITERAL=\\$DIR\nWORKDIR $DIR\nWORKDIR below\n\
                RUN write place $PLACE\nLABEL dir=$DIR\nEXPOSE 80 53/udp\nUSER sailor:crew\n";
    let said = build(engine, text, "set-up", &["--build-arg", "VERSION=2", "--build-arg", "PLACE=here"])?;
    if said.status != 0 {
        return Err(Trouble::Subject(format!("build: {}", said.err)));
    }
    let process = engine.run(&["--network", "none"], "set-up", state::process(&[]))?;
    engine.seen.expect_eq("uid", &process.uid, &1000);
    engine.seen.expect_eq("gid", &process.gid, &2000);
    engine.seen.expect_text("working directory", &process.cwd.to_string_lossy(), "/deck/below");
    for (name, wanted) in
        [("NOTE", Some("version 2")), ("REST", Some("unset")), ("LITERAL", Some("$DIR")), ("PLACE", None)]
    {
        let value = engine.run(&["--network", "none"], "set-up", state::env(name))?;
        engine.seen.expect_eq(&format!("the variable {name}"), &value.as_deref(), &wanted);
    }
    let place = engine.run(&["--network", "none"], "set-up", look::read("/deck/below/place"))?;
    engine.seen.expect_text("a build argument in RUN", &place, "here");
    for (at, wanted) in [("/Config/Labels/dir", json!("/deck")), ("/Config/ExposedPorts/53~1udp", json!({}))]
    {
        let found = engine.inspect("set-up", at)?;
        engine.seen.expect_json(at, &found, &wanted);
    }
    Ok(())
}

fn copy_add(engine: &mut EngineFixture) -> Checked {
    engine.needs(Ability::BuildKit)?;
    engine.base()?;
    let context = engine.directory("context")?;
    std::fs::create_dir_all(context.join("dir/sub"))?;
    for file in ["a.txt", "b.txt", "secret.key", "dir/one", "dir/sub/two", "dir/sub/secret.key"] {
        std::fs::write(context.join(file), file)?;
    }
    std::fs::write(context.join(".dockerignore"), "# keys stay\n**/*.key\n")?;
    let mut packed = tar::Builder::new(std::fs::File::create(context.join("cargo.tar"))?);
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o640);
    header.set_uid(7);
    header.set_gid(8);
    packed.append_data(&mut header, "hold/crate", &b"goods"[..])?;
    packed.finish()?;
    let text = "FROM base AS other\nRUN mkdir /made && write /made/it yes\n\
                FROM base\nCOPY *.txt /texts/\nCOPY dir /dir/\nCOPY --chown=sailor:crew --chmod=604 a.txt /owned\n\
                COPY --from=other /made/ /from/\nADD cargo.tar /cargo/\nCOPY cargo.tar /whole/\nCOPY . /all/\n";
    built(engine, text, "copied")?;
    let tree = engine.run(&["--network", "none"], "copied", tree::describe("/"))?;
    for (path, wanted) in [
        ("texts/a.txt", true),
        ("texts/b.txt", true),
        ("dir/one", true),
        ("dir/sub/two", true),
        ("from/it", true),
        ("cargo/hold/crate", true),
        ("cargo/cargo.tar", false),
        ("whole/cargo.tar", true),
        ("all/dir/one", true),
        ("all/secret.key", false),
        ("dir/sub/secret.key", false),
        ("all/dir/sub/secret.key", false),
    ] {
        engine.seen.expect_eq(&format!("{path} is there"), &tree.contains_key(path), &wanted);
    }
    for (path, wanted) in [
        ("texts/a.txt", "a.txt"),
        ("texts/b.txt", "b.txt"),
        ("dir/one", "dir/one"),
        ("dir/sub/two", "dir/sub/two"),
        ("all/dir/sub/two", "dir/sub/two"),
        ("owned", "a.txt"),
        ("from/it", "yes"),
        ("cargo/hold/crate", "goods"),
    ] {
        let content = tree.get(path).and_then(|entry| entry.content.clone());
        let wanted = engine::image::Digest::of(wanted.as_bytes()).hex().to_owned();
        engine.seen.expect_eq(&format!("digest of {path}"), &content, &Some(wanted));
    }
    let owner = |path: &str| tree.get(path).map(|entry| entry.owner);
    engine.seen.expect_eq("owner by --chown", &owner("owned"), &Some((1000, 2000)));
    let mode = tree.get("owned").map(|entry| entry.mode);
    engine.seen.expect_eq("mode by --chmod", &mode, &Some(0o604));
    engine.seen.expect_eq("owner of what was copied", &owner("dir/one"), &Some((0, 0)));
    engine.seen.expect_eq("owner of what was unpacked", &owner("cargo/hold/crate"), &Some((7, 8)));
    Ok(())
}

fn multi_stage(engine: &mut EngineFixture) -> Checked {
    engine.needs(Ability::BuildKit)?;
    engine.base()?;
    let text = "FROM base AS first\nRUN mkdir /made && write /made/result done && write /rubbish x\n\
                FROM base AS unused\nRUN exit 1\nFROM base AS last\nCOPY --from=first /made /made\n";
    built(engine, text, "staged")?;
    let result = engine.run(&["--network", "none"], "staged", look::read("/made/result"))?;
    engine.seen.expect_text("what was copied", &result, "done");
    let rubbish = engine.run(&["--network", "none"], "staged", look::exists("/rubbish"))?;
    engine.seen.expect_eq("what was not is there", &rubbish, &false);
    let layers = engine.layers("staged")?;
    engine.seen.expect_eq("layers", &layers.len(), &2);
    Ok(())
}

fn cache(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let context = engine.directory("context")?;
    std::fs::write(context.join("file"), "first")?;
    let text = |note: &str| format!("FROM base\nENV NOTE={note}\nCOPY file /file\nRUN write /when $NOTE\n");
    let layers = |engine: &EngineFixture, image: &str| -> Result<Vec<String>, Trouble> {
        Ok(engine.layers(image)?.into_iter().map(|layer| layer.digest).collect())
    };
    let id = |engine: &EngineFixture, image: &str| engine.inspect(image, "/Id");
    built(engine, &text("one"), "first")?;
    let said = built(engine, &text("one"), "same")?;
    let (first, same) = (id(engine, "first")?, id(engine, "same")?);
    engine.seen.expect_json("the image of an unchanged build", &same, &first);
    // BuildKit and the classic builder say it in these words.
    let reused =
        said.lines().filter(|line| line.ends_with(" CACHED") || line.to_lowercase().contains("using cache"));
    let reused = reused.count();
    engine.seen.expect("steps said to be reused", reused, "2 or more", reused >= 2);
    std::fs::write(context.join("file"), "second")?;
    built(engine, &text("one"), "file-changed")?;
    let file = engine.run(&["--network", "none"], "file-changed", look::read("/file"))?;
    engine.seen.expect_text("the file after it changed", &file, "second");
    let (old, new) = (layers(engine, "first")?, layers(engine, "file-changed")?);
    engine.seen.expect_eq("the base is the same layer", &new.first(), &old.first());
    built(engine, &text("two"), "step-changed")?;
    let when = engine.run(&["--network", "none"], "step-changed", look::read("/when"))?;
    engine.seen.expect_text("a step behind one that changed", &when, "two");
    Ok(())
}
