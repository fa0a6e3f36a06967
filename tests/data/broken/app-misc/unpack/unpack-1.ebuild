# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its archive is cut off"
SRC_URI="https://distfiles.example.invalid/unpack-1.tar.gz"
