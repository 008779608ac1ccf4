use std::path::Path;
#[test]
fn try_it() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [tidemill_toolchain::Kind::Handler, tidemill_toolchain::Kind::Projection] {
        let project = tidemill_toolchain::NewProject {
            kind,
            language: tidemill_toolchain::Language::Go,
            name: tidemill_core::name::PluginName::try_new("order-check").unwrap(),
            dir: dir.path().join(kind.word()),
        };
        println!("{:?}", project.create().unwrap());
        println!("{} {:?}", project.test_command(), project.setup());
        let project = tidemill_toolchain::Project::open(&project.dir).unwrap();
        println!("{:?}", project);
        assert!(tidemill_toolchain::missing_tools(&project).is_empty());
        let out = std::process::Command::new("go").args(["test", "./..."]).current_dir(&project.dir).output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let progress = |step: &str| println!("{step}");
        for debug in [true] {
            let component =
                tidemill_toolchain::build(&project, tidemill_toolchain::Options { debug, progress: &progress });
            match component {
                Ok(bytes) => {
                    println!("{} bytes", bytes.len());
                    std::fs::write(format!("/tmp/go/new-{}-{debug}.wasm", kind.word()), bytes).unwrap();
                }
                Err(error) => println!("{error}"),
            }
        }
        std::fs::write(project.dir.join("main.go"), "package main\nfunc main() { x }\n").unwrap();
        println!(
            "{}",
            tidemill_toolchain::build(&project, tidemill_toolchain::Options { debug: true, progress: &progress })
                .unwrap_err()
        );
        std::fs::write(project.dir.join("main.go"), "package main\nfunc main() { }\n").unwrap();
        std::fs::remove_file(project.dir.join("main_test.go")).unwrap();
        println!(
            "{}",
            tidemill_toolchain::build(&project, tidemill_toolchain::Options { debug: true, progress: &progress })
                .unwrap_err()
        );
        std::fs::write(project.dir.join("main.go"), "package other\n").unwrap();
        println!(
            "{}",
            tidemill_toolchain::build(&project, tidemill_toolchain::Options { debug: true, progress: &progress })
                .unwrap_err()
        );
        println!(
            "{:?}",
            std::fs::read_dir(project.dir.join("build")).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>()
        );
    }
    let _ = Path::new(".");
}
