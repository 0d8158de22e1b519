//! `include`: what several files say together, and how what is wrong with them is told.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::app::{self, Checking};
use tollgate::config::{Checked, Env, Sources, Style};
use tollgate::reload::read_file;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/include");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn check(folder: &Path) -> Checking {
    let nothing = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let source = read_file(&folder.join("routes.yaml")).unwrap();
    app::check(source.sources.named("routes.yaml"), &Env { variable: &|_| None, file: &nothing, credential: &nothing })
}

#[test]
fn several_files_are_told_in_exactly_these_words() {
    let mut wrong = Vec::new();
    for case in cases() {
        let checking = check(&case);
        let told = checking.render(Style::Plain);
        let expected = case.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(expected, &told).unwrap();
        } else if fs::read_to_string(expected).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", case.display()));
        }
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(checking.checked.is_some() && told.is_empty(), name.starts_with("sound"), "{name}");
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 writes what is told now\n{}", wrong.join("\n"));
}

fn case(name: &str) -> Checked {
    let folder = cases().into_iter().find(|case| case.ends_with(name)).unwrap();
    check(&folder).checked.unwrap()
}

#[test]
fn rules_count_in_the_order_that_is_stated() {
    let checked = case("sound");
    let rules: Vec<_> = checked.rules.iter().map(|rule| (rule.name.as_str(), checked.files[rule.place.file].as_str(), rule.line)).collect();
    assert_eq!(
        rules,
        [("own", "routes.yaml", 6), ("a-first", "rules/a.yaml", 3), ("a-second", "rules/a.yaml", 4), ("b-first", "rules/b.yaml", 2)]
    );
    assert_eq!(checked.files, ["routes.yaml", "rules/a.yaml", "rules/b.yaml", "rules/c.yaml", "shared.yaml"]);
    assert_eq!(checked.targets.iter().map(|target| target.name.to_string()).collect::<Vec<_>>(), ["box/echo", "box/quick", "other/echo"]);
}

#[test]
fn findings_name_their_file_to_programs_too() {
    let folder = cases().into_iter().find(|case| case.ends_with("findings-in-files")).unwrap();
    let checking = check(&folder);
    let json: serde_json::Value = serde_json::from_str(&checking.render(Style::Json)).unwrap();
    let places: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| format!("{}:{}:{}", finding["file"].as_str().unwrap(), finding["place"]["line"], finding["code"].as_str().unwrap()))
        .collect();
    assert_eq!((json["file"].as_str(), &places[0]), (Some("routes.yaml"), &"routes.yaml:6:unknown-provider".to_owned()));
    assert!(places.contains(&"rules/a.yaml:5:unknown-model".to_owned()), "{places:?}");
    let github = checking.render(Style::Github);
    assert!(github.contains("::error file=rules/a.yaml,line=5,col="), "{github}");
    assert!(checking.findings.iter().all(|finding| finding.file.is_some()));
}

#[test]
fn included_files_fit_their_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/include.schema.json");
    let now = format!("{}\n", serde_json::to_string_pretty(&tollgate::config::included_schema()).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), now, "UPDATE_GOLDEN=1 writes it");
    let schemas =
        [tollgate::config::schema(), tollgate::config::included_schema()].map(|schema| jsonschema::validator_for(&schema).unwrap());
    for case in cases() {
        let Ok(source) = read_file(&case.join("routes.yaml")) else { continue };
        let is_sound = case.file_name().unwrap().to_string_lossy().starts_with("sound");
        for (at, file) in source.sources.files().iter().enumerate() {
            let Ok(value) = serde_yaml::from_str::<serde_json::Value>(&file.text) else { continue };
            // A file of comments alone is nothing to a validator.
            let fits = value.is_null() || schemas[at.min(1)].is_valid(&value);
            assert!(fits || !is_sound, "{}/{}", case.display(), file.path);
            let is_shape_wrong = ["bad-paths/routes.yaml", "no-list/routes.yaml", "empty-list/routes.yaml", "main-file-only/rules/a.yaml"];
            let name = format!("{}/{}", case.file_name().unwrap().to_string_lossy(), file.path);
            assert!(!fits || !is_shape_wrong.contains(&name.as_str()), "{name}");
        }
    }
}

/// A folder with a sound main file that includes `pattern`, read as the daemon reads it.
fn codes(lay: impl FnOnce(&Path), include: &str) -> Vec<String> {
    let folder = crate::support::Folder::new();
    let main = format!(
        "version: 1\ninclude: {include}\nproviders:\n  box: {{ format: sandbox, models: {{ m: {{}} }} }}\ndefault: {{ chain: [box/m] }}\n"
    );
    fs::write(folder.file("routes.yaml"), main).unwrap();
    lay(folder.path());
    check(folder.path()).findings.iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn what_is_no_sound_file_is_told_at_its_include() {
    use std::os::unix::fs::symlink;
    type Lay<'l> = &'l dyn Fn(&Path);
    let write = |name: &'static str, text: &'static [u8]| move |folder: &Path| fs::write(folder.join(name), text).unwrap();
    let cases: [(&str, Lay<'_>, &str, &[&str]); 9] = [
        (
            "a link is followed",
            &|folder| {
                fs::write(folder.join(".a"), "rules: []\n").unwrap();
                symlink(".a", folder.join("a.yaml")).unwrap();
            },
            "[a.yaml]",
            &[],
        ),
        (
            "one file under two names",
            &|folder| {
                fs::write(folder.join("a.yaml"), "").unwrap();
                symlink("a.yaml", folder.join("b.yaml")).unwrap();
            },
            "[a.yaml, b.yaml]",
            &["duplicate-include"],
        ),
        ("a link to nothing", &|folder| symlink("nothing", folder.join("a.yaml")).unwrap(), "[a*.yaml]", &["missing-include"]),
        ("a link to itself", &|folder| symlink("a.yaml", folder.join("a.yaml")).unwrap(), "[a*.yaml]", &["unreadable"]),
        ("a folder that matches", &|folder| fs::create_dir(folder.join("a.yaml")).unwrap(), "[a*.yaml]", &["unmatched-include"]),
        (
            "a pipe",
            &|folder| assert!(std::process::Command::new("mkfifo").arg(folder.join("a.yaml")).status().unwrap().success()),
            "[a*.yaml]",
            &["not-a-file"],
        ),
        ("no UTF-8", &write("a.yaml", b"a: \xff\n"), "[a.yaml]", &["bad-encoding"]),
        ("too large", &|folder| fs::write(folder.join("a.yaml"), "#".repeat((1 << 20) + 1)).unwrap(), "[a.yaml]", &["file-too-large"]),
        (
            "a hundred files",
            &|folder| (0..=100).for_each(|at| fs::write(folder.join(format!("a{at}.yaml")), "").unwrap()),
            "[a*.yaml]",
            &["too-many-files"],
        ),
    ];
    for (what, lay, include, expected) in cases {
        assert_eq!(codes(lay, include), expected, "{what}");
    }
    // A name that is no UTF-8 matches nothing and stops nothing.
    let odd = |folder: &Path| {
        use std::os::unix::ffi::OsStrExt;
        fs::write(folder.join(std::ffi::OsStr::from_bytes(b"a\xff.yaml")), "").unwrap();
    };
    assert_eq!(codes(odd, "[a*.yaml]"), ["unmatched-include"]);
}

#[test]
fn the_names_of_files_begin_where_the_user_stands() {
    let folder = cases().into_iter().find(|case| case.ends_with("findings-in-files")).unwrap();
    let source = read_file(&folder.join("routes.yaml")).unwrap();
    let sources: Sources = source.sources.named("config/routes.yaml");
    assert_eq!(sources.names(), ["config/routes.yaml", "config/rules/a.yaml", "config/rules/b.yaml"]);
}
