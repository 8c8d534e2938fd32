*** Settings ***
Documentation       C3: what scenario 1 asks of the customer's display device.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Test Setup          A Site With A Joined Display
Test Teardown       The Meters Own Display Is Switched    on


*** Test Cases ***
The Display Device Shows Everything Whatever The Meters Own Display Does
    [Tags]    C3-FR-03
    The Customer Has Prepaid    1500
    The Meters Own Display Shows    the account
    Display Device Shows What The Meter Has To Show
    The Meters Own Display Is Switched    off
    The Customer Has Prepaid    1200
    The Meters Own Display Shows    nothing
    Display Device Shows What The Meter Has To Show
    Display Device Shows A Text    Planned work on Thursday

The Meter Passes On At Once What It Receives And Records
    [Tags]    C3-NFR-01
    The Head End Sends    CONNECT
    Display Device Shows A Refresh Within    4321    at once
    Display Device Shows Usage When Recorded
    Display Device Shows A Text Within    Planned work on Tuesday    at once


*** Keywords ***
A Site With A Joined Display
    The Site Is Provisioned
    The Display Has Joined    1 minute
