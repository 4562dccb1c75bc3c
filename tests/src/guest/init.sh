#!/bin/busybox sh
# The first and only process of a guest. The kernel hands over as variables what it
# does not know of its command line: address, gateway and mtu. Afterwards whatever
# comes by the second serial port is run, line by line.

# The shell finds its other commands by /proc.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo

# A driver that is built in is no module.
modprobe virtio_pci 2>/dev/null
modprobe virtio_net 2>/dev/null
ip link set lo up
ip link set eth0 mtu "$mtu" up
ip addr add "$address" dev eth0
ip route add default via "$gateway"

set -o pipefail
status=up
while
	# What a command writes may end within a line.
	printf '\n=== %s\n' "$status"
	read -r line
do
	(eval "$line") </dev/null
	status=$?
done
