*** Settings ***
Documentation       C3: the requirements that scenario 6 carries, and those of monthly billing, one test each.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_trouble.py
Test Setup          The Site Is Provisioned


*** Test Cases ***
The ADCS Tests A Meter Remotely On Demand
    [Tags]    C3-FR-13
    ADCS Tests The Meter On Demand    OPEN
    ADCS Tests The Meter On Demand    CLOSED

The Results Of A Remote Test Are In Time
    [Tags]    C3-NFR-14
    Test Results Are In Time

Meters Without A Switch Have No Remote Disconnect
    [Tags]    C3-AS-02
    Accounts Have The Options Of Their Meters

A Meter Never Takes A Payment
    [Tags]    C3-AS-03
    Meter Never Takes A Payment    1000

# The last one: up to a month passes.
On Cycle Billing Is Monthly
    [Tags]    C3-AS-01
    Regular Account Gets One Bill A Cycle    5000
