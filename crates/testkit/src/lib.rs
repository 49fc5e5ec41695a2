//! What tests share: images from Debian's busybox-static, throw-away daemons.
