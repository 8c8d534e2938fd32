*** Settings ***
Documentation       C3: the requirements that scenarios 4 and 5 carry, one test each.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/prepayment_balance.py
Library             ../../keywords/prepayment_programme.py
Test Setup          The Site Is Provisioned
Test Teardown       The Site Draws What It Is Provisioned With


*** Test Cases ***
The ADCS Retrieves Interval Data Every Recording Interval
    [Tags]    C3-FR-07
    The Customer Has Chosen For Zero    disconnect
    The Recording Interval Is    30 minutes
    The Customer Has Service Left For    49 hours
    The Threshold Comes
    ADCS Collects Every Interval    C3-FR-07    4

The ADCS Sends The Balance Every Recording Interval
    [Tags]    C3-FR-08
    The Customer Has Chosen For Zero    disconnect
    The Recording Interval Is    30 minutes
    The Customer Has Service Left For    49 hours
    The Threshold Comes
    ADCS Sends The Balance Every Interval    C3-FR-08    4

The ADCS Sends The Balance Daily
    [Tags]    C3-FR-09
    The Customer Has Chosen For Zero    disconnect
    The Customer Has A Balance Of    9000
    The Balance Is Sent Daily At The Time Configured    3

Usage Is Retrieved In A Continuous Loop
    [Tags]    C3-MSG-14
    The Customer Has Chosen For Zero    disconnect
    The Recording Interval Is    30 minutes
    The Customer Has Service Left For    49 hours
    The Threshold Comes
    Usage Is Requested And Answered Every Interval    3

Pay Stations Pass Payments In Real Time
    [Tags]    C3-BR-03
    A Pay Station Passes On A Payment    2000

Warnings Carry A Forecast Of The Time Left
    [Tags]    C3-NR-03
    The Display Has Joined    1 minute
    The Customer Has Chosen For Zero    disconnect
    The Customer Has A Balance Of    600
    Warnings Carry The Forecast

The Option Chosen Holds At Zero And Is Undone By A Payment
    [Tags]    C3-NR-04
    The Customer Has Chosen For Zero    limit
    The Customer Has A Balance Of    60
    The Balance Burns Down
    Demand Is Limited    C3-NR-04
    The Site Draws What It Is Provisioned With
    Limit Is Ended By The Payment

A Declined Card Leads To The Fallback
    [Tags]    C3-NR-04
    The Customer Has Chosen For Zero    disconnect
    The Customer Has A Balance Of    9000
    Payments Are Counted From Here
    The Customer Has Agreed On Automatic Payments    2500    declined_card
    The Customer Has Chosen For Zero    auto_replenish    disconnect
    The Customer Has A Balance Of    60
    The Balance Burns Down
    Service Is Disconnected    C3-NR-04
    Automatic Payment Was Tried    2
