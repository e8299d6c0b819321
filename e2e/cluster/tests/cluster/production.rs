//! `scripts/production-check` on the overlay `production`.

use std::process::Command;

use cluster_e2e::{Access, eventually};

use crate::support::Site;

/// The points that do not hold, by their numbers.
fn missing(site: &Site) -> Vec<u32> {
    let output = Command::new(testkit::paths::workspace().join("scripts/production-check"))
        .args([site.namespace.name(), "--certificate", &format!("istio-system/{}", site.secret())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let numbers = said.lines().filter_map(|line| line.strip_prefix("NO ")?.trim().split('.').next());
    numbers.map(|number| number.parse().unwrap()).collect()
}

#[test]
fn the_production_overlay_lacks_what_the_test_cluster_lacks_only() {
    let _access = Access::exclusive();
    let site = Site::overlay("production-check", "production", 3, |all, _| all);
    // 3: images of the test have no digest. 11: the test sets the number of pods. 16 and 17: nothing monitors this namespace.
    let expected = [3, 11, 16, 17];
    // The cluster counts what a disruption budget allows some time after the pods are ready.
    eventually("the points that do not hold are those of the test cluster", || match missing(&site) {
        found if found == expected => Ok(()),
        found => Err(format!("{found:?}")),
    });
}
