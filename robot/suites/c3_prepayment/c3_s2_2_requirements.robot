*** Settings ***
Documentation       C3: the requirements that scenarios 2 and 3 carry, one test each.
Library             ../../keywords/prepayment_events.py    C3-S2
Library             ../../keywords/prepayment_event_rules.py
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Test Setup          A Site Without Events
Test Teardown       No Events Are Left


*** Test Cases ***
The ADCS Schedules Several Events For One Location
    [Tags]    C3-FR-16
    ADCS Schedules Several Events At One Location    4

The ADCS Refuses Schedules That Overlap Or Double Another
    [Tags]    C3-FR-17
    ADCS Refuses Schedules That Overlap

The ADCS Sends Schedules In Time
    [Tags]    C3-NFR-08
    ADCS Sends Schedules Ahead

Programme A Covers Ones Own Site
    [Tags]    C3-NR-01
    Own Site Is Activated At Once Or For A Chosen Time

Programme B Covers A Facility That Has Prepayment Enabled
    [Tags]    C3-NR-02
    Facility Of Somebody Else Needs Prepayment Enabled

An Event Is Estimated In Energy And In Cost
    [Tags]    C3-NR-07
    Customer Is Told Energy And Cost Of An Event


*** Keywords ***
A Site Without Events
    The Site Is Provisioned
    No Events Are Left
