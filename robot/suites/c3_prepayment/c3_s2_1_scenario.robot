*** Settings ***
Documentation       C3, scenario 2: a customer prepays for a set time frame at their own facility (programme A).
...                 Step by step, in the catalogue's ids.
Library             ../../keywords/prepayment_events.py    C3-S2
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/website_browser.py
Test Setup          A Site Without Events
Test Teardown       No Events Are Left


*** Test Cases ***
A Customer Prepays For A Weekend At Their Own Facility
    [Tags]    C3-S2    C3-MSG-01    C3-MSG-02    C3-MSG-03    C3-MSG-04    C3-MSG-05    C3-MSG-06    C3-MSG-07    C3-MSG-09
    ...    C3-MSG-10    C3-MSG-11
    The Display Has Joined    1 minute
    The Display Shows An Earlier Balance    100
    Representative Signs In At The Website
    Customer Asks To Prepay For An Event    3 days    30 hours    disconnect
    Representative Confirms Who Pays
    Representative Finds The Time Free
    Representative Estimates The Event
    Keep A Picture    event
    Customer Gives Amount And Method    2500    card
    Representative Verifies The Funds And Posts The Amount
    CSS Sends The Schedule To The ADCS
    ADCS Logs The Schedule
    ADCS Sends The Event In Time
    Meter Logs And Schedules The Event
    ADCS Passes The Events Receipt To The MDMS
    MDMS Makes The Events Receipt Available
    The Service Is    off
    Meter Serves The Event From Its Start
    Meter And Event Page Show The Credit
    Keep A Picture    event-credit
    Display Device Shows The Events Credit
    Meter Puts The Service Back At The End
    What Is Left Goes Back To The Payer    C3-S2.06

An Event Keeps On A Service That Is On
    [Tags]    C3-S2.13
    The Service Is    on
    An Event Is Prepaid    1 hour    2 hours
    Meter Serves The Event From Its Start
    Meter Puts The Service Back At The End

An Event Raises A Service That Is Limited
    [Tags]    C3-S2.13
    The Service Is    tripped
    An Event Is Prepaid    1 hour    2 hours
    Meter Serves The Event From Its Start
    Meter Puts The Service Back At The End


*** Keywords ***
A Site Without Events
    The Site Is Provisioned
    No Events Are Left
