use super::*;

fn file(filename: &str) -> IndexFile {
    IndexFile {
        filename: filename.to_owned(),
        url: format!("https://f.example/{filename}").parse().unwrap(),
        sha256: Some(Sha256::of(filename.as_bytes())),
        size: None,
        requires_python: None,
        upload_time: None,
        yanked: None,
        provenance: None,
    }
}

fn requires(filename: &str, specifier: &str) -> IndexFile {
    IndexFile { requires_python: Some(specifier.to_owned()), ..file(filename) }
}

fn yanked(filename: &str) -> IndexFile {
    IndexFile { yanked: Some(String::new()), ..file(filename) }
}

fn policy(sdist: SdistPolicy) -> Targets {
    Targets {
        python: ["3.10", "3.11", "3.12"].map(str::to_owned).to_vec(),
        machines: ["x86_64", "aarch64"].map(str::to_owned).to_vec(),
        glibc: "2.28".to_owned(),
        sdist,
    }
}

fn take(files: &[IndexFile]) -> Result<Selection, Failure> {
    select(files, &"foo".parse().unwrap(), &"1.0".parse().unwrap(), &policy(SdistPolicy::Fallback))
}

/// The names that are taken from a release of these.
fn taken(names: &[&str]) -> Vec<String> {
    let files: Vec<_> = names.iter().map(|name| file(name)).collect();
    take(&files).unwrap().files.into_iter().map(|file| file.filename).collect()
}

#[test]
fn a_pure_wheel_covers_everything_and_the_sdist_is_left() {
    let selection = take(&[file("foo-1.0.tar.gz"), file("foo-1.0-py3-none-any.whl")]).unwrap();
    assert_eq!(selection.files, [file("foo-1.0-py3-none-any.whl")]);
    assert_eq!((selection.uncovered.len(), selection.sdist), (0, false));
}

#[test]
fn every_target_gets_the_wheel_an_installer_would_take() {
    let names = [
        "foo-1.0-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "foo-1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
        "foo-1.0-cp310-cp310-manylinux_2_34_x86_64.whl",
        "foo-1.0-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "foo-1.0-cp310-cp310-musllinux_1_1_x86_64.whl",
        "foo-1.0-cp310-cp310-macosx_11_0_arm64.whl",
        "foo-1.0-cp310-cp310-win_amd64.whl",
        "foo-1.0-cp39-cp39-manylinux_2_17_x86_64.whl",
        "foo-1.0-cp39-abi3-manylinux_2_17_x86_64.whl",
        "foo-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
        "foo-1.0-pp310-pypy310_pp73-manylinux_2_17_x86_64.whl",
        "foo-1.0-py3-none-any.whl",
        "foo-1.0.tar.gz",
    ];
    assert_eq!(
        taken(&names),
        [
            "foo-1.0-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
            "foo-1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
            "foo-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
            "foo-1.0-py3-none-any.whl",
        ]
    );
}

#[test]
fn a_higher_build_number_is_preferred_only_among_equals() {
    let generic = |build: &str| format!("foo-1.0-{build}py3-none-any.whl");
    for (builds, best) in [
        (["", "1-"], "1-"),
        (["2-", "10-"], "10-"),
        (["1a-", "1b-"], "1b-"),
        (["0-", ""], "0-"),
        (["9-", "10a-"], "10a-"),
    ] {
        let names = builds.map(generic);
        assert_eq!(taken(&[&names[0], &names[1]]), [generic(best)]);
        assert_eq!(taken(&[&names[1], &names[0]]), [generic(best)]);
    }
    assert_eq!(taken(&["foo-1.0-9-py3-none-any.whl", "foo-1.0-cp310-abi3-manylinux1_x86_64.whl"]).len(), 2);
}

#[test]
fn requires_python_is_held_against_each_target() {
    let old = requires("foo-1.0-1-py3-none-any.whl", ">=3.8,<3.12");
    let new = requires("foo-1.0-py3-none-any.whl", ">=3.12");
    let selection = take(&[old.clone(), new.clone()]).unwrap();
    assert_eq!(selection.files, [old.clone(), new]);
    let selection = take(&[old]).unwrap();
    assert_eq!(selection.uncovered, ["no wheel for CPython 3.12"]);
    for (specifier, all) in
        [(">=3.10.5", true), ("<=3.12", false), ("==3.12.*", false), ("~=3.8", true), ("rubbish", true)]
    {
        let selection = take(&[requires("foo-1.0-py3-none-any.whl", specifier)]).unwrap();
        assert_eq!(selection.uncovered.is_empty(), all, "{specifier}");
    }
}

#[test]
fn uncovered_targets_are_named() {
    let selection = take(&[
        file("foo-1.0-cp310-cp310-manylinux2014_x86_64.whl"),
        file("foo-1.0-cp310-cp310-manylinux2014_aarch64.whl"),
        file("foo-1.0-cp311-cp311-manylinux2014_x86_64.whl"),
        file("foo-1.0.tar.gz"),
    ])
    .unwrap();
    assert_eq!(selection.uncovered, ["no wheel for CPython 3.11 on aarch64", "no wheel for CPython 3.12"]);
    assert!(!selection.sdist, "a fallback is for a release without any wheel");
}

#[test]
fn the_sdist_is_taken_when_the_policy_says_so() {
    let wheel = file("foo-1.0-py3-none-any.whl");
    let other = file("foo-1.0-cp310-cp310-win_amd64.whl");
    let (zip, tar) = (file("foo-1.0.zip"), file("foo-1.0.tar.gz"));
    let names = |files: &[&IndexFile], sdist| {
        let files: Vec<_> = files.iter().map(|file| (*file).clone()).collect();
        let selection = select(&files, &"foo".parse().unwrap(), &"1.0".parse().unwrap(), &policy(sdist));
        selection.map(|selection| (selection.files, selection.sdist)).map_err(|failure| failure.code)
    };
    use SdistPolicy::{Always, Fallback, Never};
    assert_eq!(names(&[&zip, &tar, &other], Fallback), Ok((vec![tar.clone()], true)));
    assert_eq!(names(&[&zip, &other], Fallback), Ok((vec![zip.clone()], true)));
    assert_eq!(names(&[&zip, &tar, &wheel], Always), Ok((vec![wheel.clone(), tar.clone()], true)));
    assert_eq!(names(&[&wheel], Always), Ok((vec![wheel.clone()], false)));
    assert_eq!(names(&[&wheel, &tar], Never), Ok((vec![wheel.clone()], false)));
    assert_eq!(names(&[&other, &tar], Never), Err(FailureCode::NoUsableFile));
    assert_eq!(names(&[&other], Fallback), Err(FailureCode::NoUsableFile));
    assert_eq!(names(&[&requires("foo-1.0.tar.gz", "<3")], Fallback), Err(FailureCode::NoUsableFile));
}

#[test]
fn yanked_files_are_taken_when_nothing_else_is_there() {
    let selection = take(&[yanked("foo-1.0-2-py3-none-any.whl"), file("foo-1.0-1-py3-none-any.whl")]).unwrap();
    assert_eq!(selection.files, [file("foo-1.0-1-py3-none-any.whl")]);
    let selection = take(&[yanked("foo-1.0-py3-none-any.whl")]).unwrap();
    assert_eq!(selection.files, [yanked("foo-1.0-py3-none-any.whl")]);
}

#[test]
fn versions_are_equal_as_pep_440_says() {
    for (listed, asked, same) in [
        ("1.0", "1", true),
        ("1.0.0", "1.0", true),
        ("1.0+cpu", "1.0", false),
        ("1.0.post1", "1.0", false),
        ("1.0rc1", "1.0", false),
    ] {
        let files = [file(&format!("foo-{listed}-py3-none-any.whl"))];
        let found = select(&files, &"foo".parse().unwrap(), &asked.parse().unwrap(), &policy(SdistPolicy::Never));
        assert_eq!(found.is_ok(), same, "{listed} {asked}");
    }
}

#[test]
fn files_of_another_project_or_with_unsafe_names_do_not_count() {
    for name in [
        "bar-1.0-py3-none-any.whl",
        "foo_bar-1.0-py3-none-any.whl",
        "foo-1.0-py3-none-any.whl.asc",
        "foo-1.0.egg",
        "foo-1.0.tar.bz2",
        "../foo-1.0.tar.gz",
        "foo-1.0-py3-none-any\u{202e}.whl",
        "foo-1.0 .zip",
    ] {
        assert_eq!(take(&[file(name)]).map_err(|failure| failure.code), Err(FailureCode::NotFound), "{name}");
    }
    assert_eq!(taken(&["FOO-1.0-py3-none-any.whl"]).len(), 1);
}

#[test]
fn an_unknown_version_names_the_newest() {
    let files: Vec<_> = ["0.9", "0.10", "2.0rc1", "0.8", "0.7", "0.6", "0.5", "1.1"]
        .map(|version| file(&format!("foo-{version}.tar.gz")))
        .into_iter()
        .chain([yanked("foo-1.2.tar.gz")])
        .collect();
    let failure = take(&files).unwrap_err();
    assert_eq!(failure.code, FailureCode::NotFound);
    assert_eq!(failure.message, "the index has no version 1.0 of foo; the newest are 1.1, 0.10, 0.9, 0.8, 0.7");
    let failure = take(&[file("foo-2.0rc1.tar.gz")]).unwrap_err();
    assert!(failure.message.ends_with("the newest are 2.0rc1"), "{failure}");
    assert!(take(&[]).unwrap_err().message.contains("lists no wheel"));
}

#[test]
fn a_file_without_a_digest_is_refused_only_if_it_is_needed() {
    let bare = |name: &str| IndexFile { sha256: None, ..file(name) };
    assert_eq!(take(&[bare("foo-1.0-py3-none-any.whl")]).unwrap_err().code, FailureCode::BadIndex);
    assert!(take(&[file("foo-1.0-py3-none-any.whl"), bare("foo-1.0.tar.gz")]).is_ok());
}

#[test]
fn a_pin_chooses_one_file_of_the_release() {
    let files = [file("foo-1.0-py3-none-any.whl"), file("foo-1.0-cp310-cp310-win_amd64.whl"), file("foo-2.0.tar.gz")];
    let pinned = |of: &str| {
        select_pinned(&files, &"foo".parse().unwrap(), &"1.0".parse().unwrap(), &Sha256::of(of.as_bytes()))
            .map(|file| file.filename)
            .map_err(|failure| failure.code)
    };
    assert_eq!(pinned("foo-1.0-cp310-cp310-win_amd64.whl").as_deref(), Ok("foo-1.0-cp310-cp310-win_amd64.whl"));
    assert_eq!(pinned("foo-2.0.tar.gz"), Err(FailureCode::DigestMismatch));
}

#[test]
fn the_newest_that_fits_is_suggested() {
    let files = [
        file("foo-1.0-py3-none-any.whl"),
        file("foo-1.9-py3-none-any.whl"),
        file("foo-1.10-py3-none-any.whl"),
        file("foo-1.11-cp310-cp310-win_amd64.whl"),
        file("foo-1.12rc1-py3-none-any.whl"),
        yanked("foo-1.13-py3-none-any.whl"),
        requires("foo-1.14-py3-none-any.whl", ">=3.99"),
        IndexFile { sha256: None, ..file("foo-1.15-py3-none-any.whl") },
        file("foo-1.16.tar.gz"),
        file("foo-2.0-py3-none-any.whl"),
        file("bar-1.99-py3-none-any.whl"),
    ];
    let newest = |specifiers: &str, sdist| {
        newest_matching(&files, &"foo".parse().unwrap(), &specifiers.parse().unwrap(), &policy(sdist))
            .map(|version| version.to_string())
    };
    assert_eq!(newest("<2", SdistPolicy::Never).as_deref(), Some("1.10"));
    assert_eq!(newest("<2", SdistPolicy::Fallback).as_deref(), Some("1.16"));
    assert_eq!(newest("", SdistPolicy::Never).as_deref(), Some("2.0"));
    assert_eq!(newest("<1.10", SdistPolicy::Never).as_deref(), Some("1.9"));
    assert_eq!(newest(">2", SdistPolicy::Never), None);
}

#[test]
fn a_policy_without_targets_decides_nothing() {
    for targets in [
        Targets { python: vec![], ..policy(SdistPolicy::Always) },
        Targets { python: vec!["2.7".to_owned()], ..policy(SdistPolicy::Always) },
        Targets { machines: vec![], ..policy(SdistPolicy::Always) },
        Targets { glibc: "musl".to_owned(), ..policy(SdistPolicy::Always) },
    ] {
        let found = select(&[file("foo-1.0.tar.gz")], &"foo".parse().unwrap(), &"1.0".parse().unwrap(), &targets);
        assert_eq!(found.unwrap_err().code, FailureCode::NoUsableFile);
    }
}
