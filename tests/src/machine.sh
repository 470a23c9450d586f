# shellcheck shell=sh
# A machine of a test: a systemd of its own with an SSH server, and what it writes in memory.
# In a network namespace already. $1: its name; $2: a folder with host_key, authorized_keys and user's name in `user`
set -eu
name=$1 folder=$2
groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
# Of machines that have gone. Not of those that live: the group of a unit that is about to start is empty, and could be removed.
find "$groups" -maxdepth 1 -name 'test-machine-*' | while read -r old; do
    if grep -qx 'populated 0' "$old/cgroup.events" 2>/dev/null; then
        find "$old" -depth -type d -exec rmdir {} + 2>/dev/null || :
    fi
done
# Another machine that begins may take ours for one that has gone.
until mkdir -p "$groups/$name" && echo $$ >"$groups/$name/cgroup.procs"; do :; done
export folder
# shellcheck disable=SC2016
exec unshare --mount --pid --fork --kill-child --mount-proc --cgroup --uts --propagation private sh -euc '
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/test
cp "$folder"/* /run/test
layer() {
    mkdir -p "/run/test/upper$1" "/run/test/work$1"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=/run/test/upper$1,workdir=/run/test/work$1" "$1"
}
layer /etc
layer /usr/local
layer /var
mount -t tmpfs tmpfs /tmp
# What Debian has each boot do is for a computer: it would clean up, load and mount what is not ours.
rm -rf /etc/systemd/system /etc/ssh/sshd_config.d
mkdir -p /etc/systemd/system
: >/etc/fstab
for wants in /lib/systemd/system/*.wants; do
    mount -t tmpfs tmpfs "$wants"
done
user=$(cat "/run/test/user")
echo "$user:x:4711:4711::/:/bin/sh" >>/etc/passwd
echo "$user:*:1::::::" >>/etc/shadow
mkdir -p /etc/sudoers.d
echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/test
chmod 440 /etc/sudoers.d/test
install -m 600 "/run/test/host_key" /etc/ssh/test_host_key
install -m 644 "/run/test/authorized_keys" /etc/ssh/test_authorized_keys
cat >/etc/ssh/sshd_config <<END
HostKey /etc/ssh/test_host_key
AuthorizedKeysFile /etc/ssh/test_authorized_keys
PasswordAuthentication no
UsePAM no
MaxStartups 100
END
cat >/etc/systemd/system/machine.target <<END
[Unit]
DefaultDependencies=no
Wants=sshd.service systemd-journald.service
END
cat >/etc/systemd/system/sshd.service <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/sbin/sshd -D -e
END
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=machine.target --show-status=0
'
