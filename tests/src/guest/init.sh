#!/bin/busybox sh
# The first and only process of a guest. The kernel hands over as variables what it
# does not know of its command line: address, gateway and mtu. Afterwards whatever
# comes by the second serial port is run, line by line. Without an address there is no
# network but what a command makes.

# The shell finds its other commands by /proc.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo

# A driver that is built in is no module.
for module in $(find /lib/modules -name '*.ko')
do
	modprobe "$(basename "$module" .ko)" 2>/dev/null
done
ip link set lo up
if [ -n "$address" ]
then
	ip link set eth0 mtu "$mtu" up
	ip addr add "$address" dev eth0
	ip route add default via "$gateway"
fi

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
