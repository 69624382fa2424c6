//! Components that cost the compiler more than they may: each fails by itself, and the next one is compiled.
use std::time::Duration;

use offloom_sandbox::{CompilerLimit, Sandbox, SandboxConfig, SandboxError, SandboxLimits};

use crate::bombs::{
    many_aliases, many_blocks, many_crossings, many_functions, many_instances, many_targets,
    many_types, many_values,
};
use crate::support::compiler;

/// Small limits: that the real ones hold is shown with the program (`tests/e2e/loading.rs`).
fn small() -> SandboxLimits {
    SandboxLimits { compile_bytes: 200 << 20, ..SandboxLimits::default() }
}

/// What the component is refused with. The same sandbox then loads a good guest.
#[track_caller]
fn refused(component: &[u8], limits: SandboxLimits) -> SandboxError {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = Some(dir.path().to_owned());
    let sandbox = Sandbox::new(SandboxConfig { compiler: compiler(), cache_dir, limits }).unwrap();
    let error = sandbox.load_exporter(component).map(|_| ()).unwrap_err();
    sandbox.load_exporter(&crate::loading::component("exporter", |text| text)).unwrap();
    error
}

#[test]
fn memory_for_compiling_is_limited() {
    for (name, bomb) in [
        ("values", many_values(5_000, 5_000)),
        ("blocks", many_blocks(400_000)),
        ("targets", many_targets(2_000, 1_000)),
    ] {
        let error = refused(&bomb, small());
        assert!(
            matches!(error, SandboxError::CompilerLimit(CompilerLimit::Memory(bytes)) if bytes == 200 << 20),
            "{name}, {} bytes: {error}",
            bomb.len()
        );
        assert!(error.to_string().contains("200 MiB of memory"), "{error}");
    }
}

#[test]
fn processor_time_for_compiling_is_limited() {
    let limits =
        || SandboxLimits { compile_time: Duration::from_secs(1), ..SandboxLimits::default() };
    let error = refused(&many_functions(20_000), limits());
    assert!(
        matches!(error, SandboxError::CompilerLimit(CompilerLimit::Time(time)) if time.as_secs() == 1),
        "{error}"
    );
}

/// What costs little is answered with what is wrong with it, under the same limits.
#[test]
fn many_parts_take_the_compiler_little() {
    for (name, component) in [
        ("types", many_types(100_000)),
        ("crossings", many_crossings(100_000)),
        ("instances", many_instances(900)),
        ("aliases", many_aliases(100_000)),
    ] {
        let error = refused(&component, small());
        assert!(
            matches!(error, SandboxError::WrongWorld(_) | SandboxError::Refused(_)),
            "{name}, {} bytes: {error}",
            component.len()
        );
    }
}

/// Before the limit of processor time, which the bomb would take.
#[test]
fn a_compiler_that_does_not_answer_is_ended() {
    let bomb = many_functions(100_000);
    let wall = SandboxLimits { compile_wall: Duration::from_secs(4), ..SandboxLimits::default() };
    let error = refused(&bomb, wall);
    assert!(matches!(error, SandboxError::CompilerLimit(CompilerLimit::Wall(_))), "{error}");
}
