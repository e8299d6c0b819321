//! What only the node knows about a pod: its cgroup and its shim. A privileged pod of the tests reads them, so that the node need not be
//! this machine.

use std::sync::OnceLock;

use serde_json::json;

use crate::{Access, LONG, Namespace, Pod, eventually_within, fail, image, kubectl, pods};

const READER: &str = "node-reader";

/// Where the shim keeps compiled code on the node.
const COMPILED: &str = "/var/lib/wasi-http/cache";

/// Prints the shims, the processes of pods with their parents, what containerd has, and the number of pods' cgroups. A shim is known by
/// its first word, which this script's own process lacks. A shim that containerd runs for a moment has a command at the end.
/// Of several containerds, the one that is meant is known by the directory of the shims' socket.
const STATE: &str = r#"
for p in $(grep -la containerd-shim /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
  set -- $(tr '\000' ' ' < /proc/$p/cmdline 2>/dev/null)
  case "$1" in */containerd-shim-*) ;; *) continue ;; esac
  case " $* " in *' -namespace k8s.io '*) ;; *) continue ;; esac
  case " $* " in *' start '* | *' delete '*) continue ;; esac
  echo shim $p
  while [ $# -gt 1 ]; do [ "$1" != -address ] || address=$2; shift; done
done
for p in $(grep -l kubepods /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do
  echo child $(awk '$1 == "PPid:" { print $2 }' /proc/$p/status 2>/dev/null) \
    $(sed -n 's/.*pod\([0-9a-f][0-9a-f_-]\{35\}\).*/\1/p' /proc/$p/cgroup 2>/dev/null | head -n 1)
done
for c in $(pidof containerd); do grep -q "$(dirname "$address")" /proc/$c/cmdline && break; done
echo files $(ls /proc/$c/fd | wc -l)
echo mounts $(wc -l < /proc/$c/mountinfo)
echo memory $(awk '$1 == "VmRSS:" { print $2 }' /proc/$c/status)
echo cgroups $(find /cgroup -type d -path '*kubepods*' | wc -l)
"#;

/// The node of a cluster with one node.
#[derive(Debug)]
pub struct Node {
    namespace: String,
}

/// The resource usage of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The time of the sample, in seconds since 1970.
    pub seconds: u64,
    /// The time as the API writes it. Such texts sort by time.
    pub time: String,
    /// Processor time since the cgroup was created, in nanoseconds.
    pub cpu_ns: u64,
    /// The working set as the kubelet defines it, in bytes: memory without inactive file pages.
    pub working_set: u64,
}

/// What the node has because of its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// For each shim, the UID of its pod; `None` if the shim has no process of a pod.
    pub shims: Vec<Option<String>>,
    /// The file descriptors of containerd.
    pub containerd_files: u64,
    /// The resident memory of containerd, in bytes.
    pub containerd_memory: u64,
    /// The cgroups of pods and containers, in all hierarchies.
    pub cgroups: u64,
    /// The mounts in containerd's namespace, which include root file systems and network namespaces.
    pub mounts: u64,
}

impl Node {
    /// The node. The first call starts the privileged pod.
    ///
    /// # Panics
    /// If the test has no [`Access`], or the pod does not start.
    pub fn get() -> &'static Self {
        Access::require();
        static NODE: OnceLock<Node> = OnceLock::new();
        NODE.get_or_init(|| {
            let namespace = Namespace::shared("node", "privileged");
            let reader = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": READER, "namespace": namespace, "labels": { "app": READER } },
                "spec": {
                    "hostPID": true,
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "reader", "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "86400"],
                        "securityContext": { "privileged": true, "runAsUser": 0 },
                        "volumeMounts": [
                            { "name": "cgroup", "mountPath": "/cgroup", "readOnly": true },
                            { "name": "compiled", "mountPath": "/compiled" },
                        ],
                    }],
                    "volumes": [
                        { "name": "cgroup", "hostPath": { "path": "/sys/fs/cgroup" } },
                        { "name": "compiled", "hostPath": { "path": COMPILED, "type": "DirectoryOrCreate" } },
                    ],
                }
            });
            kubectl(["apply", "-f", "-"]).input(reader.to_string()).must();
            eventually_within(LONG, "the node's reader is ready", || {
                let pods = pods(&namespace, &format!("app={READER}"))?;
                if let Some(reason) = pods.iter().find_map(Pod::hopeless) {
                    return Err(reason);
                }
                pods.iter().any(Pod::ready).then_some(()).ok_or_else(|| "not yet".to_owned())
            });
            Self { namespace }
        })
    }

    /// Runs a shell script with the processes of the node and its cgroups under `/cgroup`. Returns the output.
    ///
    /// # Errors
    /// kubectl's error.
    pub fn script(&self, script: &str) -> Result<String, String> {
        kubectl(["-n", &self.namespace, "exec", READER, "--", "sh", "-c", script]).run()
    }

    /// Removes the shim's cache of compiled code, so that the next pod starts as on a new node. Running pods keep their code.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn forget_compiled(&self) {
        self.script("find /compiled -mindepth 1 -maxdepth 1 -exec rm -r {} +")
            .unwrap_or_else(|refusal| fail(refusal));
    }

    /// The usage of the pod, including the pause container.
    ///
    /// # Panics
    /// If the node has no cgroup of the pod.
    #[track_caller]
    #[must_use]
    pub fn usage(&self, pod: &Pod) -> Usage {
        self.one(&format!("*pod{}*", either(pod.uid())), pod)
    }

    /// The usage of one container of the pod.
    ///
    /// # Panics
    /// If the node has no cgroup of the container.
    #[track_caller]
    #[must_use]
    pub fn container_usage(&self, pod: &Pod, container: &str) -> Usage {
        self.one(&format!("*{}*", container_id(pod, container)), pod)
    }

    /// The usage of one container of the pod, once a second for this number of seconds.
    ///
    /// # Errors
    /// kubectl's refusal, or if the node has no cgroup of the container.
    pub fn record(&self, pod: &Pod, container: &str, seconds: u32) -> Result<Vec<Usage>, String> {
        self.usages(&format!("*{}*", container_id(pod, container)), seconds)
    }

    /// The processes of one container of the pod, one a line: `name uid=1000 gid=1000 capabilities=… seccomp=2 nonewprivs=1`,
    /// with the effective capabilities in hexadecimal and seccomp's mode, where 2 is a filter.
    ///
    /// # Panics
    /// If the node has none.
    #[track_caller]
    #[must_use]
    pub fn processes(&self, pod: &Pod, container: &str) -> Vec<String> {
        let read = self.script(&format!(
            "for p in $(grep -l '{}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do\n\
               awk -v n=$(tr '\\000' '\\n' < /proc/$p/cmdline | head -n 1) '\n\
                 $1 == \"Uid:\" {{ u = $3 }} $1 == \"Gid:\" {{ g = $3 }} $1 == \"CapEff:\" {{ c = $2 }}\n\
                 $1 == \"Seccomp:\" {{ s = $2 }} $1 == \"NoNewPrivs:\" {{ w = $2 }}\n\
                 END {{ print n \" uid=\" u \" gid=\" g \" capabilities=\" c \" seccomp=\" s \" nonewprivs=\" w }}\n\
               ' /proc/$p/status; done",
            container_id(pod, container)
        ));
        let lines: Vec<_> = read.unwrap_or_else(|refusal| fail(refusal)).lines().map(str::to_owned).collect();
        if lines.is_empty() {
            fail(format!("pod {}: {container} has no processes", pod.name));
        }
        lines
    }

    /// What the node has because of its pods.
    ///
    /// # Errors
    /// kubectl's error, or what the node did not tell.
    pub fn state(&self) -> Result<NodeState, String> {
        let read = self.script(STATE)?;
        let rows: Vec<Vec<&str>> = read.lines().map(|line| line.split_whitespace().collect()).collect();
        let value = |name: &str| {
            let found = rows.iter().find_map(|row| match row.as_slice() {
                [key, value] if *key == name => value.parse::<u64>().ok(),
                _ => None,
            });
            found.ok_or_else(|| format!("the node does not tell its {name}: {read}"))
        };
        let pod_of = |shim: &str| {
            rows.iter().find_map(|row| match row.as_slice() {
                ["child", parent, uid] if *parent == shim => Some(uid.replace('_', "-")),
                _ => None,
            })
        };
        let shims = rows.iter().filter_map(|row| match row.as_slice() {
            ["shim", shim] => Some(pod_of(shim)),
            _ => None,
        });
        Ok(NodeState {
            shims: shims.collect(),
            containerd_files: value("files")?,
            containerd_memory: value("memory")? * 1024,
            cgroups: value("cgroups")?,
            mounts: value("mounts")?,
        })
    }

    #[track_caller]
    fn one(&self, name: &str, pod: &Pod) -> Usage {
        let usage = self.usages(name, 1).map(|usages| usages.into_iter().next());
        let usage = usage.unwrap_or_else(|refusal| fail(format!("pod {}: {refusal}", pod.name)));
        usage.unwrap_or_else(|| fail(format!("pod {}: its cgroup tells nothing", pod.name)))
    }

    /// Samples the cgroup (v1 or v2) whose directory matches the pattern.
    fn usages(&self, name: &str, times: u32) -> Result<Vec<Usage>, String> {
        let read = self.script(&format!(
            "at() {{ find /cgroup/$1 -maxdepth 6 -type d -name '{name}' 2>/dev/null | head -n 1; }}\n\
             if [ -f /cgroup/cgroup.controllers ]; then\n\
               c=$(at .); m=$c; cpu=cpu.stat mem=memory.current file=inactive_file\n\
             else\n\
               c=$(at cpuacct); m=$(at memory); cpu=cpuacct.usage mem=memory.usage_in_bytes file=total_inactive_file\n\
             fi\n\
             [ -n \"$c\" ] && [ -n \"$m\" ] || exit 3\n\
             for i in $(seq {times}); do\n\
               [ $i = 1 ] || sleep 1\n\
               echo $(date -u '+%s %Y-%m-%dT%H:%M:%SZ') \\\n\
                 $(awk 'NF == 1 {{ print $1 }} $1 == \"usage_usec\" {{ print $2 * 1000 }}' $c/$cpu) \\\n\
                 $(cat $m/$mem) $(awk -v f=$file '$1 == f {{ print $2 }}' $m/memory.stat)\n\
             done"
        ))?;
        read.lines().map(|line| usage(line).ok_or_else(|| format!("not a usage: {line:?}"))).collect()
    }

    /// The proportional set size of the shims of the pod's sandbox, in bytes.
    ///
    /// # Panics
    /// If the node has none.
    #[track_caller]
    #[must_use]
    pub fn shims(&self, pod: &Pod) -> u64 {
        // Only the runtime knows the id of the sandbox. The parent of a process in the pod's cgroup is the shim.
        let read = self.script(&format!(
            "for p in $(grep -l 'pod{}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do\n\
               awk '$1 == \"PPid:\" {{ print $2 }}' /proc/$p/status 2>/dev/null; done | sort -u | while read s; do\n\
               grep -q containerd-shim /proc/$s/cmdline 2>/dev/null && awk '$1 == \"Pss:\" {{ print $2 }}' /proc/$s/smaps_rollup\n\
             done; true",
            either(pod.uid())
        ));
        let read = read.unwrap_or_else(|refusal| fail(refusal));
        let shims: Vec<u64> = read.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if shims.is_empty() {
            fail(format!("pod {}: no shim is the parent of its processes", pod.name));
        }
        shims.iter().sum::<u64>() * 1024
    }
}

fn usage(line: &str) -> Option<Usage> {
    let mut words = line.split_whitespace();
    let (seconds, time) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let cpu_ns = words.next()?.parse().ok()?;
    let (memory, inactive): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Usage { seconds, time, cpu_ns, working_set: memory.saturating_sub(inactive) })
}

/// The runtime's id of the container.
#[track_caller]
fn container_id(pod: &Pod, container: &str) -> String {
    let id = pod.container(container).and_then(|container| {
        let id = container.status.get("containerID")?.as_str()?;
        id.split_once("://").map(|(_, id)| id.to_owned())
    });
    id.unwrap_or_else(|| fail(format!("pod {} runs no container {container}", pod.name)))
}

/// A pattern for the pod's id as either cgroup driver writes it, for the shell and for grep.
fn either(uid: &str) -> String {
    uid.replace('-', "[-_]")
}
