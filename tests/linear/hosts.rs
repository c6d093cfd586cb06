//! Hosts: network namespaces of the test's own, behind a router of its own that drops packets when it is told to.
//!
//! The test's process is the server's host, in a namespace by itself, where nothing is but its own loopback. All of it
//! ends with the processes that hold it. Where namespaces are not allowed, each host is a listener on loopback through
//! which its clients go; that one holds bytes back, where the router drops packets.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The server's address for its clients in other namespaces.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Which packets of a host are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server.
    Requests,
    /// From the server.
    Answers,
}

/// A process that holds a namespace, and ends when its input does.
struct Holder(Child);

impl Holder {
    fn new() -> Self {
        let mut command = Command::new("cat");
        // SAFETY: one system call.
        unsafe { command.pre_exec(leave) };
        Self(command.stdin(Stdio::piped()).spawn().expect("namespaces are allowed, as was seen before"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Leaves for a new network namespace.
fn leave() -> std::io::Result<()> {
    // SAFETY: takes a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A listener that holds back what it is told to.
struct Gate {
    address: SocketAddr,
    held: [Arc<AtomicBool>; 2],
}

enum Kind {
    Namespaces { router: Holder, hosts: Vec<Holder> },
    Gates(Vec<Gate>),
}

pub(crate) struct Hosts {
    kind: Kind,
    server: SocketAddr,
}

/// Moves this process, which has one thread, into a network namespace of its own, with its loopback. Whether it could;
/// `DATAKEY_LINEAR_NAMESPACES=no` forbids it.
pub(crate) fn go_apart() -> bool {
    if std::env::var_os("DATAKEY_LINEAR_NAMESPACES").is_some_and(|value| value == "no") {
        return false;
    }
    let up = || Command::new("ip").args(["link", "set", "lo", "up"]).status();
    leave().is_ok() && up().expect("ip of iproute2; see scripts/setup.sh").success()
}

impl Hosts {
    /// So many hosts for clients of a server that listens at this port, on loopback and, if this process is `apart`, on
    /// all addresses of its namespace.
    pub(crate) fn new(count: usize, port: u16, apart: bool) -> Self {
        if !apart {
            println!("     (no permission for namespaces: hosts are listeners on loopback that hold bytes back)");
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            return Self { kind: Kind::Gates((0..count).map(|_| Gate::to(server)).collect()), server };
        }
        let (router, hosts) = (Holder::new(), (0..count).map(|_| Holder::new()).collect::<Vec<_>>());
        let inside = |holder: &Holder| format!("nsenter -t {} -n", holder.pid());
        let (at, pid) = (inside(&router), router.pid());
        // What an earlier test of this process left.
        let mut script = format!(
            "ip link del s0 2>/dev/null || true
             ip link add s0 type veth peer name r0 netns {pid}
             ip addr add {SERVER}/24 dev s0; ip link set s0 up; ip route add 10.77.0.0/16 via 10.77.0.1
             {at} ip addr add 10.77.0.1/24 dev r0; {at} ip link set r0 up; {at} ip link set lo up
             {at} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'\n"
        );
        for (number, host) in (1..).zip(&hosts) {
            let (here, holder) = (inside(host), host.pid());
            script += &format!(
                "{at} ip link add r{number} type veth peer name h0 netns {holder}
                 {at} ip addr add 10.77.{number}.1/24 dev r{number}; {at} ip link set r{number} up
                 {here} ip link set lo up; {here} ip addr add 10.77.{number}.2/24 dev h0; {here} ip link set h0 up
                 {here} ip route add default via 10.77.{number}.1\n"
            );
        }
        shell(&script);
        Self { kind: Kind::Namespaces { router, hosts }, server: (SERVER, port).into() }
    }

    /// Where the clients of a host find the server.
    pub(crate) fn server(&self, host: usize) -> SocketAddr {
        match &self.kind {
            Kind::Namespaces { .. } => self.server,
            Kind::Gates(gates) => gates[host].address,
        }
    }

    pub(crate) fn are_namespaces(&self) -> bool {
        matches!(self.kind, Kind::Namespaces { .. })
    }

    /// Has a client start on a host.
    pub(crate) fn place(&self, host: usize, command: &mut Command) {
        let Kind::Namespaces { hosts, .. } = &self.kind else { return };
        let namespace = File::open(format!("/proc/{}/ns/net", hosts[host].pid())).unwrap();
        let enter = move || {
            // SAFETY: the file is open as long as this closure is.
            match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: one system call.
        unsafe { command.pre_exec(enter) };
    }

    /// From now on packets of a host are lost this way, or no more.
    pub(crate) fn lose(&self, host: usize, way: Way, lost: bool) {
        match &self.kind {
            Kind::Gates(gates) => gates[host].held[way as usize].store(lost, Ordering::SeqCst),
            Kind::Namespaces { router, .. } => {
                let (number, word) = (host + 1, if lost { "add" } else { "del" });
                let rule = match way {
                    Way::Requests => format!("iif r{number} prio {}", 100 + host),
                    Way::Answers => format!("to 10.77.{number}.0/24 prio {}", 200 + host),
                };
                shell(&format!("nsenter -t {} -n ip rule {word} {rule} blackhole", router.pid()));
            }
        }
    }
}

fn shell(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Gate {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let held: [Arc<AtomicBool>; 2] = Default::default();
        let [requests, answers] = held.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // While the server is down there is nobody to pass it to.
                let Ok(server) = TcpStream::connect(server) else { continue };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&answers));
                let there = (client, server, Arc::clone(&requests));
                for (from, to, held) in [there, back] {
                    thread::spawn(move || pass(&from, &to, &held));
                }
            }
        });
        Self { address, held }
    }
}

/// Passes bytes on, and the end of them.
fn pass(mut from: &TcpStream, mut to: &TcpStream, held: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while held.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
