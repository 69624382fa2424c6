# Shortcuts for ./dev, which does the work and needs no just.

setup:
    ./dev setup

demo:
    ./dev demo

check:
    ./dev check

test *ARGS:
    ./dev test {{ARGS}}

soak:
    ./dev soak

bench *ARGS:
    ./dev bench {{ARGS}}

fuzz TARGET *ARGS:
    ./dev fuzz {{TARGET}} {{ARGS}}

deny:
    ./dev deny

fmt:
    ./dev fmt
