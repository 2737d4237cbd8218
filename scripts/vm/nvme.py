# SPDX-License-Identifier: GPL-2.0
"""Shared disks with persistent reservations: NVMe over TCP between test machines."""

import uuid

EXPORT = """
set -e
modprobe -a nvmet nvmet-tcp
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
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


def connect(vm, address, nqn="disk", port=4420, options="--ctrl-loss-tmo=-1 --reconnect-delay=1"):
    """Connects vm to the subsystem and returns the path of its block device there.

    Every machine has an identity of its own, the same whenever it connects, so that
    reservations tell it from the others."""
    number = vm.lab.number_of(vm) + 1
    host = f"00000000-0000-4000-8000-{number:012x}"
    vm.ok(f"modprobe nvme-tcp && nvme connect -t tcp -a {address} -s {port} -n {nqn} "
          f"--hostnqn=nqn.2014-08.org.nvmexpress:uuid:{host} --hostid={host} {options}")
    return vm.poll(DEVICE.format(nqn=nqn)).strip()


def disconnect(vm, nqn="disk"):
    vm.ok(f"nvme disconnect -n {nqn}")
