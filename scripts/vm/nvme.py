# SPDX-License-Identifier: GPL-2.0
"""Shared disks with persistent reservations: NVMe over TCP between test machines."""

import collections
import json
import uuid

EXPORT = """
set -e
modprobe -a nvmet nvmet-tcp
grep -q ' /sys/kernel/config ' /proc/mounts || mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/nvmet
mkdir -p subsystems/{nqn}/namespaces/1
echo 1 >subsystems/{nqn}/attr_allow_any_host
echo {device} >subsystems/{nqn}/namespaces/1/device_path
# Who reconnects after this machine was rebooted takes it for the same disk only by these.
echo {uuid} >subsystems/{nqn}/namespaces/1/device_uuid
echo {serial} >subsystems/{nqn}/attr_serial
# Reservations can be turned on only before the namespace is.
echo {reservations} >subsystems/{nqn}/namespaces/1/resv_enable
echo 1 >subsystems/{nqn}/namespaces/1/enable
if [ ! -d ports/{port} ]; then
	mkdir ports/{port}
	echo tcp >ports/{port}/addr_trtype
	echo ipv4 >ports/{port}/addr_adrfam
	echo {address} >ports/{port}/addr_traddr
	echo {port} >ports/{port}/addr_trsvcid
fi
ln -s "$PWD/subsystems/{nqn}" ports/{port}/subsystems/{nqn}
"""

# The block device of a subsystem: with native multipath it hangs below the subsystem.
DEVICE = """
for nqn in /sys/class/nvme-subsystem/*/subsysnqn; do
	[ "$(cat "$nqn" 2>/dev/null)" = {nqn} ] || continue
	for namespace in "${{nqn%/*}}"/nvme*n*; do
		name=${{namespace##*/}}
		[ ! -b "/dev/$name" ] || {{ echo "/dev/$name"; exit 0; }}
	done
done
exit 1
"""


def export(vm, device, address, nqn="disk", port=4420, reservations=True):
    """Offers a block device of vm as subsystem nqn at address."""
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{vm.name} {nqn}")
    vm.ok(EXPORT.format(device=device, address=address, nqn=nqn, port=port, uuid=identity,
                        serial=identity.hex[:20], reservations=int(reservations)))


def withdraw(vm, nqn="disk", port=4420):
    """Takes the subsystem away while others use it: a remote that goes dark."""
    vm.ok(f"rm /sys/kernel/config/nvmet/ports/{port}/subsystems/{nqn}")


def restore(vm, nqn="disk", port=4420):
    """Undoes withdraw()."""
    vm.ok(f"cd /sys/kernel/config/nvmet && ln -s $PWD/subsystems/{nqn} ports/{port}/subsystems/{nqn}")


def host_options(keep_alive=5, reconnect_delay=1, fast_io_fail=None, ctrl_loss=-1):
    """Options for connect(), in seconds. With a target that does not answer, I/O waits. A host
    notices after keep_alive or half as much again, then tries to connect every reconnect_delay.
    What waits is done when that succeeds, and fails fast_io_fail (None: never) after the host
    had noticed; it goes on trying until ctrl_loss (-1: for ever)."""
    options = f"--keep-alive-tmo={keep_alive} --reconnect-delay={reconnect_delay} --ctrl-loss-tmo={ctrl_loss}"
    return options if fast_io_fail is None else f"{options} --fast_io_fail_tmo={fast_io_fail}"


def host_id(vm):
    """Every machine has an identity of its own, the same whenever it connects, so that
    reservations tell it from the others."""
    return f"00000000-0000-4000-8000-{vm.lab.number_of(vm) + 1:012x}"


def connect(vm, address, nqn="disk", port=4420, options="--ctrl-loss-tmo=-1 --reconnect-delay=1"):
    """Connects vm to the subsystem and returns the path of its block device there."""
    host = host_id(vm)
    vm.ok(f"modprobe nvme-tcp && nvme connect -t tcp -a {address} -s {port} -n {nqn} "
          f"--hostnqn=nqn.2014-08.org.nvmexpress:uuid:{host} --hostid={host} {options}")
    return vm.poll(DEVICE.format(nqn=nqn)).strip()


def disconnect(vm, nqn="disk"):
    vm.ok(f"nvme disconnect -n {nqn}")


class Reservation(collections.namedtuple("Reservation", "type generation holder keys")):
    """type: NVMe's number, 0 is none. holder: name of a machine, or None. keys: of those that are
    registered, by name of machine."""


def reservation(vm, device):
    """What the reservation of a namespace is, asked by vm."""
    names = {host_id(machine).replace("-", ""): machine.name for machine in vm.lab.vms}
    report = json.loads(vm.ok(f"nvme resv-report {device} --eds -o json"))
    hosts = [(names[entry["hostid"]], entry) for entry in report["regctlext"]]
    holder = next((name for name, entry in hosts if entry["rcsts"] & 1), None)
    return Reservation(report["rtype"], report["gen"], holder, {name: entry["rkey"] for name, entry in hosts})


def state(vm, nqn="disk"):
    """What vm thinks of its connection: live, connecting (it has noticed that it is lost), ..."""
    return vm.ok(f"cd /sys/class/nvme && cat $(grep -lx {nqn} */subsysnqn | sed s/subsysnqn/state/)")


def set_fast_io_fail(vm, nqn, seconds):
    """Changes what connect() was told; None: I/O waits for ever. Counts from the next loss on."""
    value = -1 if seconds is None else seconds
    vm.ok(f"cd /sys/class/nvme && echo {value} >$(grep -lx {nqn} */subsysnqn | sed s/subsysnqn/fast_io_fail_tmo/)")
