*** Settings ***
Documentation       What the lab wants of its own board, beyond any catalogue.
Library             lab_bench.py    ${BENCH}
Suite Setup         Bring The Bench Up
Suite Teardown      Take The Bench Down


*** Variables ***
${BENCH}            ${CURDIR}/bench.yaml


*** Test Cases ***
The Switch Carries And Interrupts The Current
    Switch The Service    on=True
    Current Should Be    2.5
    Switch The Service    on=False
    Current Should Be    0

An Hour's Energy Is Registered
    Switch The Service    on=True
    ${before}    Delivered Energy
    Time Passes    1 hour
    Energy Should Have Grown By    600    since=${before}

Nothing Is Registered While The Service Is Off
    Switch The Service    on=False
    ${before}    Delivered Energy
    Time Passes    1 hour
    Energy Should Have Grown By    0    since=${before}
